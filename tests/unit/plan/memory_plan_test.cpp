// Plans against closed forms, and against what the allocator counts in a real step.
#include "plan/memory_plan.h"

#include <limits>
#include <optional>

#include <gtest/gtest.h>

#include "base/random.h"
#include "device/cpu_memory.h"
#include "planned_recipe.h"
#include "support/fixture_plugin.h"
#include "train/step_telemetry.h"
#include "train/train_step.h"

namespace trainhost {
namespace {

using test::SmallRun;

uint64_t own_bytes(const MemoryUse &use) { return use.total() - use.of(MemoryPart::kProgram) - use.of(MemoryPart::kData); }

uint64_t parameter_bytes(const Model &model) {
  uint64_t bytes = 0;
  for (const th_parameter_info &info : model.parameters()) bytes += element_count(info) * sizeof(float);
  return bytes;
}

TokenBatch micro_batch(uint32_t sequences, uint32_t length) {
  TokenBatch batch;
  batch.sequences = sequences;
  batch.sequence_length = length;
  for (uint32_t i = 0; i < sequences * length; ++i) {
    batch.tokens.push_back(static_cast<int32_t>(random_bits(1, 1, i) % SmallRun::kVocabulary));
    batch.positions.push_back(static_cast<int32_t>(i % length));
    if (i % length == 0) batch.document_starts.push_back(static_cast<int32_t>(i));
  }
  batch.document_starts.push_back(static_cast<int32_t>(sequences * length));
  batch.targets = batch.tokens;
  batch.loss_weights.assign(sequences * length, 1);
  return batch;
}

// The most that the allocator gave out for a run's state and a real step.
uint64_t allocated(const SmallRun &run, uint32_t recompute, Reduction reduction) {
  const auto process = single_process();
  restart_cpu_peak();
  const uint64_t before = cpu_bytes_in_use();
  Spread spread = unspread(*run.model, *process);
  spread.compute.bfloat16 = run.device.bfloat16;
  ParameterStore parameters = *ParameterStore::create(*run.model, run.phases.optimizers.front().get(), spread);
  GradientStore gradients(*run.model, parameters, reduction);
  ModelRunner runner({.model = *run.model,
                      .parameters = parameters,
                      .gradients = &gradients,
                      .recomputed = recomputed_units(run.model->units().size(), recompute)});
  parameters.initialise(1);
  TrainStep step(runner, parameters, gradients, run.recipe.training, 1);
  TrainState state;
  ScheduleValues schedule;
  schedule.momentum = std::numeric_limits<double>::quiet_NaN();
  const TokenAxis axis(run.recipe);
  const StepShape &phase = axis.shape_of_step(0);
  StepBatch batch;
  for (uint32_t i = 0; i < phase.sequences / phase.micro_batch_sequences; ++i)
    batch.micro_batches.push_back(micro_batch(phase.micro_batch_sequences, phase.sequence_length));
  Reporter nobody;
  const Amount every{2, Amount::Unit::kSteps, "2 steps", {}};
  std::optional<StepTelemetry> telemetry;
  if (run.recipe.metrics.telemetry) {
    telemetry.emplace(StepTelemetry::Parts{
        .every = every, .checkpoint_every = every, .axis = axis, .parameters = parameters, .gradients = gradients, .reporter = nobody});
  }
  while (state.step < (telemetry ? 2 : 1)) {
    if (telemetry) telemetry->before_step(state);
    const auto report = step.run(batch, *run.phases.optimizers.front(), schedule, state);
    EXPECT_TRUE(report) << (report ? "" : report.error().message);
    ++state.step;
    if (telemetry) {
      EXPECT_TRUE(telemetry->after_step(state, {.step = state.step, .phase = "", .stage = ""}));
    }
  }
  return cpu_peak_bytes() - before;
}

TEST(MemoryPlanTest, IsWhatTheAllocatorCountsWhileAnUpdateIsMeasured) {
  SmallRun run;
  run.recipe.training.batch = Batch::constant(2 * 512);
  const uint64_t alone = own_bytes(run.plan().fullest().peak);
  run.recipe.metrics.telemetry = true;
  const MemoryUse planned = run.plan().fullest().peak;
  EXPECT_EQ(own_bytes(planned), allocated(run, 0, Reduction::kFast));
  EXPECT_EQ(own_bytes(planned) - alone, planned.of(MemoryPart::kTelemetry));
  EXPECT_GE(planned.of(MemoryPart::kTelemetry), 2 * parameter_bytes(*run.model));
}

TEST(MemoryPlanTest, IsWhatTheAllocatorCountsInARealStep) {
  for (const uint64_t micro_batch : {128u, 512u}) {
    for (const uint32_t recompute : {0u, 1u, 2u}) {
      for (const std::string reduction : {"fast", "fixed"}) {
        SmallRun run;
        run.recipe.training.micro_batch_tokens = micro_batch;
        run.recipe.training.batch = Batch::constant(micro_batch == 128 ? 5 * 128 : 2 * 512);
        run.recipe.training.recompute = recompute;
        run.recipe.run.reduction = reduction;
        EXPECT_EQ(own_bytes(run.plan().fullest().peak),
                  allocated(run, recompute, reduction == "fixed" ? Reduction::kFixed : Reduction::kFast))
            << micro_batch << " tokens, recompute " << recompute << ", " << reduction;
      }
    }
  }
}

TEST(MemoryPlanTest, IsWhatTheAllocatorCountsWithAWorkspace) {
  SmallRun run("minicpm", {}, fixture_plugin("orthogonal"));
  run.recipe.training.batch = Batch::constant(2 * 512);
  const uint64_t planned = own_bytes(run.plan().fullest().peak);
  EXPECT_EQ(planned, allocated(run, 0, Reduction::kFast));
}

// Two moments of 2 bytes, where float32 has two of 4; each may end with a rest of a cache line.
TEST(MemoryPlanTest, IsWhatTheAllocatorCountsWithMomentsOfBfloat16) {
  SmallRun run("minicpm", {}, "adamw", {{"moments", std::string("bfloat16")}}), precise;
  for (SmallRun *one : {&run, &precise}) one->recipe.training.batch = Batch::constant(2 * 512);
  const MemoryUse planned = run.plan().fullest().peak;
  EXPECT_EQ(own_bytes(planned), allocated(run, 0, Reduction::kFast));
  constexpr double kHugePage = 2 << 20;
  const auto elements = static_cast<double>(parameter_bytes(*run.model)) / sizeof(float);
  EXPECT_NEAR(static_cast<double>(planned.of(MemoryPart::kOptimizer)), 2 * 2 * elements, kHugePage);
  EXPECT_NEAR(static_cast<double>(precise.plan().fullest().peak.of(MemoryPart::kOptimizer)), 2 * 4 * elements, kHugePage);
}

// What the model itself takes is LibTorch's, which our allocator does not count, and the fixture does not tell it.
TEST(MemoryPlanTest, IsWhatTheAllocatorCountsWithBfloat16Copies) {
  for (const uint32_t recompute : {0u, 1u}) {
    SmallRun run(fixture_plugin("minicpm_tensors"), {.gpu = false, .bfloat16 = true});
    run.recipe.training.batch = Batch::constant(2 * 512);
    run.recipe.training.recompute = recompute;
    EXPECT_EQ(own_bytes(run.plan().fullest().peak), allocated(run, recompute, Reduction::kFast)) << "recompute " << recompute;
  }
}

// Blocks are whole huge pages from 2 MiB on, and 64 bytes at least lie between parameters.
void expect_bytes(uint64_t planned, double expected, double slack) {
  EXPECT_GE(static_cast<double>(planned), expected);
  EXPECT_LE(static_cast<double>(planned), expected + slack);
}

constexpr double kHugePage = 2 << 20, kUnits = 8;

TEST(MemoryPlanTest, ShardsTheStateAsZeroDoes) {
  SmallRun run;
  run.recipe.training.batch = Batch::constant(16 * 512);
  const auto state = static_cast<double>(parameter_bytes(*run.model));
  for (const auto &[sharding, parameters, gradients, states] :
       std::vector<std::tuple<std::string, double, double, double>>{{"none", 1, 1, 2},
                                                                    {"optimizer", 1, 1, 2.0 / 4},
                                                                    {"gradients", 1, 1.0 / 4, 2.0 / 4},
                                                                    {"parameters", 1.0 / 4, 1.0 / 4, 2.0 / 4}}) {
    run.recipe.parallel.sharding = sharding;
    const MemoryUse peak = run.plan(4).fullest().peak;
    expect_bytes(peak.of(MemoryPart::kParameters), parameters * state, kHugePage);
    expect_bytes(peak.of(MemoryPart::kOptimizer), states * state, kHugePage);
    // One unit's gradient may be whole at that moment.
    expect_bytes(peak.of(MemoryPart::kGradients), gradients * state, kUnits * kHugePage);
  }
}

// Rajbhandari et al. 2020 (arXiv 1910.02054), section 3.1: of a parameter a copy of 2 bytes, and for Adam a master of 4 and two moments
// of 4.
TEST(MemoryPlanTest, OnAGpuThatIsNotHereTheStateIsFourteenBytesAParameter) {
  SmallRun run("minicpm", {.gpu = true, .bfloat16 = true});
  const double parameters = static_cast<double>(parameter_bytes(*run.model)) / 4;
  for (const auto &[sharding, bytes] : std::vector<std::pair<std::string, double>>{
           {"none", 2 + 4 + 8}, {"optimizer", 2 + (4.0 + 8) / 4}, {"gradients", 2 + (4.0 + 8) / 4}, {"parameters", (2.0 + 4 + 8) / 4}}) {
    run.recipe.parallel.sharding = sharding;
    const MemoryUse peak = run.plan(4).fullest().peak;
    const uint64_t state = peak.of(MemoryPart::kParameters) + peak.of(MemoryPart::kMasters) + peak.of(MemoryPart::kOptimizer);
    expect_bytes(state, bytes * parameters, kUnits * 4096 * 14);  // pieces are whole blocks of 4096 floats
  }
}

TEST(MemoryPlanTest, RecomputingKeepsOneUnitOfSix) {
  SmallRun run;
  run.recipe.training.micro_batch_tokens = 4096;
  const uint64_t kept = run.plan().fullest().peak.of(MemoryPart::kSaved);
  // Rows of q, k, v with 4 + 2 * 2 heads of 32, the attended, the middle, gate and up, 4 sums and twice 1/rms.
  expect_bytes(kept, 6.0 * 4096 * sizeof(float) * (8 * 32 + 128 + 128 + 2 * 320 + 4 + 2), 6 * kHugePage);
  run.recipe.training.recompute = 1;
  EXPECT_EQ(run.plan().fullest().peak.of(MemoryPart::kSaved), kept / 6);
  run.recipe.training.recompute = 2;  // layers 1, 3 and 5 of six, which are units 1, 3 and 5
  EXPECT_EQ(run.plan().fullest().peak.of(MemoryPart::kSaved), kept / 6 * 3);
}

// Narayanan et al. 2021 (arXiv 2104.04473), section 2.2.1: at most as many micro-batches under way as there are stages from this one on.
TEST(MemoryPlanTest, EarlierStagesHoldMoreMicroBatches) {
  SmallRun run;
  run.recipe.parallel.pipeline_stages = 4;
  const MemoryPlan plan = run.plan(4);
  const auto stages = *cut_into_stages(*run.model, 4);
  ASSERT_EQ(plan.stages.size(), stages.size());
  const uint64_t layer = cpu_block_bytes(run.model->unit_memory(1, true, true, 8, 64)->saved);
  for (uint32_t stage = 0; stage < 4; ++stage) {
    uint64_t layers = 0;
    for (uint32_t unit = 1; unit <= 6; ++unit) layers += stages[stage].contains(unit) ? 1 : 0;
    EXPECT_EQ(plan.stages[stage].peak.of(MemoryPart::kSaved), (4 - stage) * layers * layer) << stage;
    EXPECT_LT(plan.stages[stage].peak.of(MemoryPart::kParameters), parameter_bytes(*run.model));
  }
}

TEST(MemoryPlanTest, AnAsynchronousCheckpointIsACopyOfTheState) {
  SmallRun run;
  EXPECT_EQ(run.plan().fullest().peak.of(MemoryPart::kCheckpoint), 0u);
  run.recipe.checkpoint.asynchronous = true;
  expect_bytes(run.plan().fullest().peak.of(MemoryPart::kCheckpoint), 3.0 * static_cast<double>(parameter_bytes(*run.model)), kHugePage);
}

TEST(MemoryPlanTest, SaysWhyItCannotBeLaidOutSo) {
  SmallRun run;
  run.recipe.parallel.pipeline_stages = 3;
  EXPECT_EQ(plan_memory(run.planned(4), {}).error().kind, ErrorKind::kRecipe);
  run.recipe.parallel.pipeline_stages = 9;  // of eight units
  EXPECT_EQ(plan_memory(run.planned(9), {}).error().kind, ErrorKind::kRecipe);
}

}  // namespace
}  // namespace trainhost
