// The same training on other numbers of ranks, however it is spread over them. Ranks are threads.
#include "train/spread.h"

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/fixture_plugin.h"
#include "support/plugin_under_test.h"
#include "support/thread_group.h"
#include "train/step_telemetry.h"
#include "train/train_step.h"

namespace trainhost {
namespace {

constexpr uint32_t kVocabulary = 61, kLength = 8, kMicroBatches = 12, kSteps = 30, kSources = 3;

// A way to run; whatever it says, the training is the same.
struct Way {
  uint32_t data_ranks = 1, stages = 1;
  std::string sharding = "none";
  uint32_t recompute = 0;
  Reduction reduction = Reduction::kFixed;
  bool bfloat16 = false;
};

std::string to_string(const Way &way) {
  return std::to_string(way.data_ranks) + " ranks x " + std::to_string(way.stages) + " stages, sharding " + way.sharding + ", recompute " +
         std::to_string(way.recompute) + (way.reduction == Reduction::kFixed ? ", fixed" : ", fast");
}

// What is trained, and by what.
struct Subject {
  std::string model = "minicpm";
  std::map<std::string, ParameterValue> parameters = {{"layers", int64_t{3}},   {"width", int64_t{24}},        {"heads", int64_t{3}},
                                                      {"kv_heads", int64_t{1}}, {"feed_forward", int64_t{40}}, {"tied_embeddings", true}};
  std::string optimizer = "adamw";
  double learning_rate = 0.01;
  std::map<std::string, ParameterValue> optimizer_parameters = {};
};

// What came out of it, put together from all ranks.
struct Trained {
  std::map<std::string, std::vector<float>> tensors;
  std::vector<double> losses, norms;
  std::vector<double> source_losses;  // after each step, of all steps so far
  std::vector<TelemetryReport> telemetry;
};

class TelemetryOfRanks : public MetricSink {
 public:
  explicit TelemetryOfRanks(std::vector<TelemetryReport> &all) : all_(all) {}
  void step(const StepReport &) override {}
  void evaluation(const EvaluationReport &) override {}
  void telemetry(const TelemetryReport &report) override { all_.push_back(report); }

 private:
  std::vector<TelemetryReport> &all_;
};

// Every third step is measured.
struct Axis {
  Axis() {
    recipe.packing.sequence_length = kLength;
    recipe.training.batch = Batch::constant(kMicroBatches * 2 * kLength);
    recipe.run.tokens = recipe.training.batch.tokens * kSteps;
    recipe.phases.emplace_back();
  }
  Recipe recipe;
  const Amount every{3, Amount::Unit::kSteps, "3 steps", {}};
};

TokenBatch micro_batch(uint64_t step, uint32_t number) {
  TokenBatch batch;
  batch.sequences = 2;
  batch.sequence_length = kLength;
  for (uint32_t i = 0; i < 2 * kLength; ++i) {
    const uint64_t bits = random_bits(5, step, number * 100 + i);
    batch.tokens.push_back(static_cast<int32_t>(bits % kVocabulary));
    batch.targets.push_back(static_cast<int32_t>((bits * 7 + 3) % kVocabulary));
    batch.loss_weights.push_back(bits % 11 == 0 ? 0.0f : 1.0f);
    batch.positions.push_back(static_cast<int32_t>(i % kLength));
  }
  batch.document_starts = {0, kLength, 2 * kLength};
  batch.samples = {{.source = number % kSources}, {.source = (number + 1) % kSources}};
  return batch;
}

th_model_options options(bool bfloat16) {
  th_model_options options{};
  options.struct_size = sizeof options;
  options.vocabulary_size = kVocabulary;
  options.device_type = TH_DEVICE_CPU;
  options.compute_code = bfloat16 ? TH_DTYPE_BFLOAT : TH_DTYPE_FLOAT;
  options.compute_bits = bfloat16 ? 16 : 32;
  options.sequence_length = kLength;
  options.tokens = 2 * kLength;
  return options;
}

template <class Value>
Value unwrap(Result<Value> result) {
  if (!result) throw std::runtime_error(result.error().message);
  if constexpr (!std::is_void_v<Value>) return *std::move(result);
}

float number_at(const ElementSpan &values, size_t i) {
  return values.type() == ElementType::kFloat32 ? values.floats()[i] : std::bit_cast<float>(uint32_t{values.bfloat16_bits()[i]} << 16);
}

void train_rank(ProcessGroup &world, const Subject &subject, const Way &way, std::mutex &mutex, Trained &trained) {
  std::unique_ptr<Model> model;
  std::unique_ptr<Optimizer> optimizer;
  {
    const std::lock_guard lock(mutex);  // a process loads its plugins one after the other
    model = unwrap(Model::create(plugin_under_test(PluginKind::kModel, subject.model, subject.parameters), options(way.bfloat16)));
    optimizer = unwrap(Optimizer::create(plugin_under_test(PluginKind::kOptimizer, subject.optimizer, subject.optimizer_parameters)));
  }
  const StageGroups groups = unwrap(StageGroups::split(world, way.stages));
  const Spread spread = unwrap(groups.spread(*model, sharding_of(way.sharding), {.bfloat16 = way.bfloat16}));
  ParameterStore parameters = unwrap(ParameterStore::create(*model, optimizer.get(), spread));
  parameters.initialise(3);
  GradientStore gradients(*model, parameters, way.reduction);
  ModelRunner runner({.model = *model,
                      .parameters = parameters,
                      .gradients = &gradients,
                      .recomputed = recomputed_units(model->units().size(), way.recompute)});
  Recipe::Training settings;
  settings.gradient_clip = 1.0;
  settings.on_spike = "continue";
  TrainStep train_step(runner, parameters, gradients, settings, 1);
  TrainState state;
  state.mix =
      MixProgress{.round = {}, .mixer_state = {}, .losses = std::vector<double>(kSources), .tokens = std::vector<uint64_t>(kSources)};
  const Axis measured;
  const TokenAxis axis(measured.recipe);
  Reporter reporter;
  TelemetryOfRanks reports(trained.telemetry);
  if (world.rank() == 0) reporter.show_on(&reports);
  StepTelemetry telemetry({.every = measured.every,
                           .checkpoint_every = measured.every,
                           .axis = axis,
                           .parameters = parameters,
                           .gradients = gradients,
                           .reporter = reporter});
  ScheduleValues schedule;
  schedule.learning_rate = subject.learning_rate;
  schedule.momentum = std::numeric_limits<double>::quiet_NaN();
  for (uint64_t step = 0; step < kSteps; ++step) {
    StepBatch batch{.step = step, .micro_batches = {}};
    for (uint32_t i = spread.data->rank(); i < kMicroBatches; i += spread.data->size()) batch.micro_batches.push_back(micro_batch(step, i));
    telemetry.before_step(state);
    const TrainStep::Report report = unwrap(train_step.run(batch, *optimizer, schedule, state));
    ++state.step;
    unwrap(telemetry.after_step(state, {.step = state.step, .phase = "", .stage = "", .gradient_norm = report.gradient_norm}));
    if (optimizer->has_evaluation_point() && world.size() > 1) {  // and nobody who was not there knows of it
      unwrap(parameters.move_to(ParameterPoint::kEvaluation, *optimizer));
      unwrap(parameters.move_to(ParameterPoint::kTraining, *optimizer));
    }
    if (world.rank() != 0) continue;
    trained.losses.push_back(report.loss);
    trained.norms.push_back(report.gradient_norm);
    trained.source_losses.insert(trained.source_losses.end(), state.mix->losses.begin(), state.mix->losses.end());
  }
  const std::lock_guard lock(mutex);
  for (const NamedTensor &tensor : parameters.tensors_to_save()) {
    size_t count = 1;
    for (const int64_t extent : tensor.shape) count *= static_cast<size_t>(extent);
    auto &whole = trained.tensors[tensor.name];
    whole.resize(count, std::numeric_limits<float>::quiet_NaN());
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      EXPECT_TRUE(std::isnan(whole[tensor.begin + i])) << tensor.name << ": element " << i << " is saved by two ranks";
      whole[tensor.begin + i] = number_at(tensor.values, i);
    }
  }
}

Trained train(const Subject &subject, const Way &way) {
  Trained trained;
  std::mutex mutex;
  test::run_ranks(way.data_ranks * way.stages, [&](ProcessGroup &world) { train_rank(world, subject, way, mutex, trained); });
  return trained;
}

// All known, so that they compare.
std::vector<double> numbers_of(const TelemetryReport &report) {
  std::vector<double> numbers{report.gradient_square, report.gradient_variance, report.gradient_cosine,     report.d1, report.d2,
                              report.curvature,       report.update_ratio,      report.largest_update_ratio};
  for (const double number : numbers) EXPECT_FALSE(std::isnan(number));
  return numbers;
}

void expect_same_bits(const Trained &trained, const Trained &expected, const std::string &what) {
  EXPECT_EQ(trained.losses, expected.losses) << what;
  EXPECT_EQ(trained.norms, expected.norms) << what;
  EXPECT_EQ(trained.source_losses, expected.source_losses) << what;
  ASSERT_EQ(trained.telemetry.size(), kSteps / 3) << what;
  for (size_t i = 0; i < kSteps / 3; ++i) EXPECT_EQ(numbers_of(trained.telemetry[i]), numbers_of(expected.telemetry[i])) << what;
  ASSERT_EQ(trained.tensors.size(), expected.tensors.size()) << what;
  for (const auto &[name, values] : expected.tensors) EXPECT_EQ(trained.tensors.at(name), values) << what << ": " << name;
}

void expect_near(const Trained &trained, const Trained &expected, const std::string &what) {
  for (size_t i = 0; i < kSteps / 3; ++i) {
    EXPECT_NEAR(trained.telemetry[i].gradient_cosine, expected.telemetry[i].gradient_cosine, 1e-3) << what;
    EXPECT_NEAR(trained.telemetry[i].update_ratio / expected.telemetry[i].update_ratio, 1, 1e-3) << what;
  }
  for (size_t step = 0; step < expected.losses.size(); ++step) {
    EXPECT_NEAR(trained.losses[step] / expected.losses[step], 1, 1e-5) << what << ", step " << step;
  }
}

const std::vector<std::string> kShardings = {"none", "optimizer", "gradients", "parameters"};

TEST(Spread, AnyNumberOfRanksGivesTheSameBitsInTheFixedOrder) {
  const Trained alone = train({}, {});
  EXPECT_LT(alone.losses.back(), 0.9 * alone.losses.front());
  for (const uint32_t ranks : {2u, 3u, 4u}) {
    for (const std::string &sharding : kShardings) {
      const Way way{.data_ranks = ranks, .sharding = sharding};
      expect_same_bits(train({}, way), alone, to_string(way));
    }
  }
}

// With a learning rate at which AdamW does not make much of a rounding error in a gradient that is nearly zero.
const Subject kGentle{.learning_rate = 3e-4};

TEST(Spread, TheFastOrderDiffersByRoundingOnly) {
  const Trained alone = train(kGentle, {});
  for (const uint32_t ranks : {1u, 2u, 4u}) {
    for (const std::string &sharding : kShardings) {
      const Way way{.data_ranks = ranks, .sharding = sharding, .reduction = Reduction::kFast};
      expect_near(train(kGentle, way), alone, to_string(way));
    }
  }
}

TEST(Spread, RecomputedActivationsAreTheSameBits) {
  const Trained alone = train({}, {});
  for (const uint32_t recompute : {1u, 2u}) {
    for (const char *sharding : {"none", "parameters"}) {
      const Way way{.data_ranks = 2, .sharding = sharding, .recompute = recompute};
      expect_same_bits(train({}, way), alone, to_string(way));
    }
  }
}

TEST(Spread, AModelOfTwoUnitsWithoutTiesIsSpreadToo) {
  const Subject bigram{.model = "bigram", .parameters = {{"rank", int64_t{6}}}, .optimizer = "sgd"};
  const Trained alone = train(bigram, {});
  for (const std::string &sharding : kShardings) {
    const Way way{.data_ranks = 4, .sharding = sharding};
    expect_same_bits(train(bigram, way), alone, to_string(way));
  }
}

TEST(Spread, PipelineStagesGiveTheSameBits) {
  for (const bool tied : {false, true}) {
    Subject subject;
    subject.parameters["tied_embeddings"] = tied;
    const Trained alone = train(subject, {});
    for (const Way &way :
         {Way{.stages = 2}, Way{.stages = 5}, Way{.data_ranks = 2, .stages = 2},
          Way{.data_ranks = 2, .stages = 2, .sharding = "optimizer", .recompute = 1},
          Way{.data_ranks = 3, .stages = 2, .sharding = "gradients"}, Way{.data_ranks = 2, .stages = 3, .sharding = "parameters"}}) {
      expect_same_bits(train(subject, way), alone, to_string(way) + (tied ? ", tied" : ""));
    }
    subject.learning_rate = kGentle.learning_rate;
    const Trained gently = train(subject, {});
    for (const char *sharding : {"none", "gradients"}) {
      const Way way{.data_ranks = 2, .stages = 2, .sharding = sharding, .reduction = Reduction::kFast};
      expect_near(train(subject, way), gently, to_string(way));
    }
  }
}

// The example of a model on LibTorch's autograd, with dropout.
Subject recurrent() {
  return {.model = fixture_plugin("gru"), .parameters = {{"width", int64_t{16}}, {"state", int64_t{24}}, {"dropout", 0.1}}};
}

// A backward by autograd, dropout, optimizers that need whole tensors or matrices: what the shipped plugins are not.
TEST(Spread, AModelOnAutogradWithAnyOptimizerGivesTheSameBits) {
  for (const char *optimizer : {"adamw", "trust_ratio", "orthogonal"}) {
    Subject subject = recurrent();
    subject.parameters["layers"] = int64_t{3};
    subject.optimizer = optimizer;
    if (subject.optimizer != "adamw") subject.optimizer = fixture_plugin(optimizer);
    const Trained alone = train(subject, {});
    EXPECT_LT(alone.losses.back(), alone.losses.front());
    for (const std::string &sharding : kShardings) {
      const Way way{.data_ranks = 2, .sharding = sharding};
      expect_same_bits(train(subject, way), alone, to_string(way) + ", " + optimizer);
    }
    for (const Way &way : {Way{.data_ranks = 4, .sharding = "parameters", .recompute = 1}, Way{.data_ranks = 3, .recompute = 2},
                           Way{.data_ranks = 2, .stages = 2, .sharding = "optimizer"}}) {
      expect_same_bits(train(subject, way), alone, to_string(way) + ", " + optimizer);
    }
  }
}

// The model computes with rounded copies; what is updated, summed and saved is float32.
TEST(Spread, BrainFloatsAreSpreadToTheSameBits) {
  const Subject subject = recurrent();
  const Trained alone = train(subject, {.bfloat16 = true});
  const Trained precise = train(subject, {});
  EXPECT_NE(alone.losses, precise.losses);
  for (size_t step = 0; step < kSteps; ++step) EXPECT_NEAR(alone.losses[step] / precise.losses[step], 1, 0.02);
  for (const std::string &sharding : kShardings) {
    const Way way{.data_ranks = 2, .sharding = sharding, .recompute = 2, .bfloat16 = true};
    expect_same_bits(train(subject, way), alone, to_string(way) + ", bf16");
  }
  const Way way{.data_ranks = 2, .stages = 2, .sharding = "gradients", .bfloat16 = true};
  expect_same_bits(train(subject, way), alone, to_string(way) + ", bf16");
}

TEST(Spread, OptimizersOfWholeTensorsAlsoUpdateAModelWithTies) {
  for (const char *optimizer : {"trust_ratio", "orthogonal"}) {
    const Subject subject{.optimizer = fixture_plugin(optimizer)};
    const Trained alone = train(subject, {});
    for (const std::string &sharding : kShardings) {
      const Way way{.data_ranks = 4, .sharding = sharding};
      expect_same_bits(train(subject, way), alone, to_string(way) + ", " + optimizer);
    }
    const Way way{.data_ranks = 2, .stages = 2, .sharding = "gradients"};
    expect_same_bits(train(subject, way), alone, to_string(way) + ", " + optimizer);
  }
}

// A29: states of the parameter's shape that are cut anywhere, whole tensors with states of their own shapes, whole matrices.
TEST(Spread, ShippedOptimizersOfEveryGranularityGiveTheSameBits) {
  for (const char *optimizer : {"lion", "lamb", "adafactor", "schedule_free", "muon"}) {
    Subject subject{.optimizer = optimizer, .learning_rate = 3e-3};
    subject.parameters["layers"] = int64_t{1};
    subject.parameters["width"] = int64_t{72};  // matrices of several of the blocks between which the host cuts
    subject.parameters["feed_forward"] = int64_t{128};
    const Trained alone = train(subject, {});
    EXPECT_LT(alone.losses.back(), alone.losses.front());
    for (const Way &way : {Way{.data_ranks = 3, .sharding = "optimizer"}, Way{.data_ranks = 4, .sharding = "parameters"},
                           Way{.data_ranks = 2, .stages = 2, .sharding = "gradients"}}) {
      expect_same_bits(train(subject, way), alone, to_string(way) + ", " + optimizer);
    }
  }
}

// Rounding at random draws the same whichever rank rounds: one optimizer of each granularity.
TEST(Spread, MomentsOfBfloat16GiveTheSameBits) {
  for (const char *optimizer : {"adamw", "lamb", "muon"}) {
    Subject subject{.optimizer = optimizer, .learning_rate = 3e-3, .optimizer_parameters = {{"moments", std::string("bfloat16")}}};
    subject.parameters["layers"] = int64_t{1};
    subject.parameters["width"] = int64_t{72};
    subject.parameters["feed_forward"] = int64_t{128};
    const Trained alone = train(subject, {});
    EXPECT_LT(alone.losses.back(), alone.losses.front());
    subject.optimizer_parameters["moments"] = std::string("float32");
    EXPECT_NE(train(subject, {}).losses, alone.losses);
    subject.optimizer_parameters["moments"] = std::string("bfloat16");
    for (const Way &way : {Way{.data_ranks = 3, .sharding = "parameters"}, Way{.data_ranks = 2, .stages = 2, .sharding = "gradients"}}) {
      expect_same_bits(train(subject, way), alone, to_string(way) + ", " + optimizer);
    }
  }
}

TEST(StageUnits, AreContiguousAndTheHeaviestIsAsLightAsCanBe) {
  const std::vector<double> work = {0, 4, 4, 4, 4, 6};
  EXPECT_EQ(stage_units(work, 0, 2).begin, 0u);
  EXPECT_EQ(stage_units(work, 0, 2).end, 4u);  // 12 and 10; 8 and 14 would be heavier
  EXPECT_EQ(stage_units(work, 1, 2).begin, 4u);
  EXPECT_EQ(stage_units(work, 1, 2).end, 6u);
  for (uint32_t stage = 0; stage < 6; ++stage) {
    EXPECT_EQ(stage_units(work, stage, 6).begin, stage);
    EXPECT_EQ(stage_units(work, stage, 6).end, stage + 1);
  }
}

}  // namespace
}  // namespace trainhost
