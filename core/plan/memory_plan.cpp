#include "plan/memory_plan.h"

#include <algorithm>

#include "plan/step_rehearsal.h"
#include "train/model_runner.h"
#include "train/trainer.h"

namespace trainhost {
namespace {

// Measured, see core/docs/memory.md: the program with its plugins; and what LibTorch adds once it has multiplied matrices, or once it
// connects processes.
constexpr uint64_t kProgramBytes = uint64_t{14} << 20;
constexpr uint64_t kLibTorchBytes = uint64_t{116} << 20;

// Not measured yet: a CUDA context with its libraries' kernels and workspaces, and NCCL's buffers once it connects processes.
constexpr uint64_t kGpuContextBytes = uint64_t{1} << 30;
constexpr uint64_t kNcclBytes = uint64_t{1} << 30;
constexpr uint64_t kGpuBlockBytes = 512;  // of LibTorch's caching allocator

constexpr uint64_t kBytesPerBatchToken = 4 * sizeof(float);  // tokens, targets, weights, positions
constexpr uint64_t kBytesPerId = 256;                        // of the tokenizer's tables; measured with byte_bpe
constexpr uint32_t kMostRehearsed = 1024;                    // micro-batches; more only repeat

uint64_t gpu_block_bytes(uint64_t bytes) { return (bytes + kGpuBlockBytes - 1) / kGpuBlockBytes * kGpuBlockBytes; }

uint64_t program_bytes(const PlannedRun &run) {
  if (run.device.gpu) return kGpuContextBytes + (run.processes > 1 ? kNcclBytes : 0);
  const bool libtorch = run.processes > 1 || !run.model.manifest().libtorch.empty();
  return kProgramBytes + (libtorch ? kLibTorchBytes : 0);
}

// The rank whose pieces of the groups are the most floats.
uint32_t fullest_rank(const ParameterLayout &layout, uint32_t ranks) {
  std::vector<size_t> floats(ranks, 0);
  for (const ParameterGroup &group : layout.groups()) {
    for (uint32_t rank = 0; rank < ranks; ++rank) floats[rank] += group.piece(rank).size();
  }
  return static_cast<uint32_t>(std::ranges::max_element(floats) - floats.begin());
}

// Plans one process, part by part.
class ProcessPlan {
 public:
  ProcessPlan(const PlannedRun &run, const TokenAxis &axis, RehearsedProcess process)
      : run_(run),
        axis_(axis),
        layout_(run.model, process.units, process.ranks, run.phases.optimizers.front()->granularity()),
        process_(std::move(process)),
        timeline_(run.device.gpu ? gpu_block_bytes : cpu_block_bytes) {
    process_.rank = fullest_rank(layout_, process_.ranks);
  }

  Result<MemoryPlan::Stage> plan() {
    timeline_.take(MemoryPart::kProgram, program_bytes(run_));
    timeline_.take(MemoryPart::kData, data_bytes());
    StepRehearsal rehearsal(run_.model, layout_, process_, timeline_);
    TRAINHOST_CHECK(take_state(rehearsal));
    std::vector<RehearsedBatches> rehearsed;
    for (const StepShape &shape : axis_.possible_shapes()) {
      const RehearsedBatches batches = batches_of(shape);
      if (std::ranges::find(rehearsed, batches) != rehearsed.end()) continue;
      TRAINHOST_CHECK(rehearsal.train(batches));
      rehearsed.push_back(batches);
    }
    TRAINHOST_CHECK(rehearsal.evaluate(batches_of(axis_.shape_of_step(0))));
    return MemoryPlan::Stage{.peak = timeline_.peak(), .moment = timeline_.peak_moment()};
  }

 private:
  uint64_t data_bytes() const { return run_.device.gpu ? uploaded_bytes() : host_data_bytes(); }

  // The micro-batches under way.
  uint64_t uploaded_bytes() const {
    uint64_t tokens = 0;
    for (const StepShape &shape : axis_.possible_shapes())
      tokens = std::max(tokens, uint64_t{shape.micro_batch_sequences} * shape.sequence_length);
    return tokens * kBytesPerBatchToken * (process_.stages - process_.stage);
  }

  uint64_t host_data_bytes() const {
    uint64_t step_tokens = 0;
    for (const StepShape &shape : axis_.possible_shapes()) step_tokens = std::max(step_tokens, shape.tokens());
    // Those ready, the one being built and the one in use.
    const uint64_t ahead = (kStepsAhead + 2) * step_tokens / process_.ranks;
    const auto &evaluated = run_.recipe.evaluation.sources;
    uint64_t held_out = 0;
    for (const Source &source : run_.recipe.sources) {
      const bool counts = evaluated.empty() || std::ranges::find(evaluated, source.name) != evaluated.end();
      if (counts && source.held_out > 0) held_out += run_.recipe.evaluation.tokens;
    }
    return (ahead + held_out) * kBytesPerBatchToken + run_.vocabulary_size * kBytesPerId;
  }

  // Parameters, optimizer states, and their copies.
  Result<> take_state(const StepRehearsal &rehearsal) {
    const bool cuts = process_.sharding == Sharding::kParameters;
    size_t parameters = 0, masters = 0, states = 0, updated_parameters = 0, measured = 0;
    std::vector<const th_parameter_info *> updated;
    for (uint32_t group = 0; group < layout_.groups().size(); ++group) {
      const ParameterGroup &placed = layout_.groups()[group];
      const size_t held = cuts ? placed.piece(process_.rank).size() : placed.size;
      parameters += aligned(run_.device.bfloat16 ? (held + 1) / 2 : held);
      if (run_.device.bfloat16) masters += aligned(rehearsal.updated(group).size());
      if (rehearsal.borrowed(group)) continue;
      updated_parameters += rehearsal.updated(group).size();
      measured += aligned(placed.piece(process_.rank).size());
      TRAINHOST_TRY(const size_t own, state_floats(placed, rehearsal.updated(group), updated));
      states += own;
    }
    TRAINHOST_TRY(const uint64_t workspace, run_.phases.workspace_bytes(updated));
    state_.push_back({timeline_, MemoryPart::kParameters, parameters * sizeof(float)});
    if (masters > 0) state_.push_back({timeline_, MemoryPart::kMasters, masters * sizeof(float)});
    state_.push_back({timeline_, MemoryPart::kOptimizer, states * sizeof(float)});
    if (workspace > 0) state_.push_back({timeline_, MemoryPart::kOptimizer, workspace});
    for (int copy = 0; run_.recipe.metrics.telemetry && copy < 2; ++copy)  // see StepTelemetry
      state_.push_back({timeline_, MemoryPart::kTelemetry, measured * sizeof(float)});
    if (!run_.recipe.checkpoint.asynchronous || run_.device.gpu) return {};  // the copy is in the machine's memory
    state_.push_back({timeline_, MemoryPart::kCheckpoint, (updated_parameters + states) * sizeof(float)});
    return {};
  }

  // Of the optimizer's states for the parameters in a range of a group, which are added to `updated`; see ParameterStore::lay_out_states.
  Result<size_t> state_floats(const ParameterGroup &group, FloatRange range, std::vector<const th_parameter_info *> &updated) const {
    size_t floats = 0;
    for (size_t i = 0; i < group.parameters.size(); ++i) {
      const th_parameter_info &info = run_.model.parameters()[group.parameters[i]];
      const size_t begin = std::max(group.offsets[i], range.begin);
      const size_t end = std::min(group.offsets[i] + element_count(info), range.end);
      if (begin >= end) continue;
      updated.push_back(&info);
      TRAINHOST_TRY(const auto states, run_.phases.optimizers.front()->describe_states(info));
      for (const OptimizerState &state : states) {
        floats += aligned(floats_for(state.type, state.element_count(end - begin)));
      }
    }
    return floats;
  }

  RehearsedBatches batches_of(const StepShape &shape) const {
    const uint32_t at_a_time = shape.micro_batch_sequences;
    const uint32_t all = (shape.sequences + at_a_time - 1) / at_a_time, own = (all + process_.ranks - 1) / process_.ranks;
    // Without a tree to grow, exchanges and stages are as full as they get after a few.
    const uint32_t enough = process_.reduction == Reduction::kFixed ? kMostRehearsed : 2 * process_.stages + 3;
    return {.sequences = at_a_time, .sequence_length = shape.sequence_length, .count = std::min(own, enough)};
  }

  const PlannedRun &run_;
  const TokenAxis &axis_;
  const ParameterLayout layout_;
  RehearsedProcess process_;
  MemoryTimeline timeline_;
  std::vector<CountedBlock> state_;
};

}  // namespace

const MemoryPlan::Stage &MemoryPlan::fullest() const {
  return *std::ranges::max_element(stages, {}, [](const Stage &stage) { return stage.peak.total(); });
}

Result<MemoryPlan> plan_memory(const PlannedRun &run, const MemorySettings &settings) {
  const uint32_t stages = run.recipe.parallel.pipeline_stages;
  TRAINHOST_TRY(const uint32_t ranks, StageGroups::data_ranks(run.processes, stages));
  TRAINHOST_TRY(const auto ranges, cut_into_stages(run.model, stages));
  const TokenAxis axis(run.recipe, ranks, settings.micro_batch_tokens);
  RehearsedProcess process{
      .stages = stages,
      .units = {},
      .stage_of = {},
      .ranks = ranks,
      .sharding = ranks == 1 ? Sharding::kNone : sharding_of(run.recipe.parallel.sharding),
      .reduction = run.recipe.run.reduction == "fixed" ? Reduction::kFixed : Reduction::kFast,
      .recomputed = recomputed_units(run.model.units().size(), run.recipe.training.recompute.value_or(settings.recompute)),
      .bytes_per_item = run.device.bytes_per_item()};
  for (uint32_t stage = 0; stage < stages; ++stage) process.stage_of.resize(ranges[stage].end, stage);
  MemoryPlan plan;
  for (process.stage = 0; process.stage < stages; ++process.stage) {
    process.units = ranges[process.stage];
    TRAINHOST_TRY(plan.stages.emplace_back(), ProcessPlan(run, axis, process).plan());
  }
  return plan;
}

}  // namespace trainhost
