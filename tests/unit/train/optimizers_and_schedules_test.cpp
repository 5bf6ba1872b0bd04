// A31: every shipped optimizer under every shipped schedule, read from the build's plugin folder; and what a schedule does to the noise of
// gradient descent.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "support/plugin_under_test.h"
#include "train/finite.h"
#include "train/train_step.h"
#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

constexpr uint32_t kVocabulary = 37, kLength = 8, kSequences = 2;
constexpr uint64_t kSteps = 8;

using Settings = std::map<std::string, ParameterValue>;

std::vector<Manifest> shipped(PluginKind kind) {
  std::vector<Manifest> manifests;
  for (const auto &file : std::filesystem::directory_iterator(TRAINHOST_BINARY_DIR "/plugins")) {
    if (file.path().extension() != ".so") continue;
    auto manifest = read_manifest(file.path());
    if (manifest && manifest->kind == kind) manifests.push_back(*std::move(manifest));
  }
  std::ranges::sort(manifests, {}, &Manifest::name);
  return manifests;
}

// What a recipe must say: a number, or a text, which is taken for a formula.
Settings required_by(const Manifest &manifest) {
  Settings settings;
  for (const auto &parameter : manifest.parameters) {
    if (parameter.default_value) continue;
    settings[parameter.name] = parameter.type == ParameterType::kNumber ? ParameterValue(0.01) : ParameterValue(std::string("0.01"));
  }
  return settings;
}

TokenAxis run_of(uint64_t steps) {
  Recipe recipe;
  recipe.run.tokens = steps * kSequences * kLength;
  recipe.training.batch = Batch::constant(kSequences * kLength);
  recipe.packing.sequence_length = kLength;
  recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
  return TokenAxis(recipe);
}

th_model_options options() {
  th_model_options options{};
  options.struct_size = sizeof options;
  options.vocabulary_size = kVocabulary;
  options.device_type = TH_DEVICE_CPU;
  options.compute_code = TH_DTYPE_FLOAT;
  options.compute_bits = 32;
  options.sequence_length = kLength;
  options.tokens = kSequences * kLength;
  return options;
}

TokenBatch batch_of(uint64_t step) {
  TokenBatch batch;
  batch.sequences = kSequences;
  batch.sequence_length = kLength;
  for (uint32_t i = 0; i < kSequences * kLength; ++i) {
    const uint64_t bits = random_bits(5, step, i);
    batch.tokens.push_back(static_cast<int32_t>(bits % kVocabulary));
    batch.targets.push_back(static_cast<int32_t>((bits * 7 + 3) % kVocabulary));
    batch.loss_weights.push_back(1);
    batch.positions.push_back(static_cast<int32_t>(i % kLength));
  }
  batch.document_starts = {0, kLength, 2 * kLength};
  batch.samples = {{.source = 0}, {.source = 0}};
  return batch;
}

// A process of a run: all that is made anew when the run is resumed. It has embeddings, hidden matrices, norms and a head.
class Process {
 public:
  Process(const std::string &optimizer, const Settings &optimizer_settings, const std::string &schedule, const Settings &schedule_settings)
      : schedule_(
            *LrScheduler::create(plugin_under_test(PluginKind::kLrScheduler, schedule, schedule_settings, &axis_), axis_.progress(0))),
        optimizer_(*Optimizer::create(plugin_under_test(PluginKind::kOptimizer, optimizer, optimizer_settings, &axis_))),
        parameters_(*ParameterStore::create(*model_, optimizer_.get(), unspread(*model_, *group_))),
        gradients_(*model_, parameters_, Reduction::kFixed),
        runner_({.model = *model_, .parameters = parameters_, .gradients = &gradients_, .recomputed = {}}),
        train_step_(runner_, parameters_, gradients_, training_, 1) {
    parameters_.initialise(3);
  }

  void train(uint64_t first, uint64_t end) {
    state_.updates = first;
    for (uint64_t step = first; step < end; ++step) {
      const StepBatch batch{.step = step, .micro_batches = {batch_of(step)}};
      const auto report = train_step_.run(batch, *optimizer_, schedule_->values(axis_.progress(step)).value(), state_);
      ASSERT_TRUE(report) << report.error().message;
      EXPECT_EQ(report->outcome, TrainStep::Outcome::kUpdated) << report->reason;
    }
  }

  using Bytes = std::vector<std::byte>;

  // Parameters and states, as a checkpoint has them.
  std::map<std::string, Bytes> saved() {
    if (state_.updates > 0) move_to(ParameterPoint::kEvaluation);
    std::map<std::string, Bytes> tensors;
    for (const NamedTensor &tensor : parameters_.tensors_to_save())
      std::ranges::copy(tensor.values.bytes(), std::back_inserter(tensors[tensor.name]));
    if (state_.updates > 0) move_to(ParameterPoint::kTraining);
    return tensors;
  }
  // After an update.
  void load(const std::map<std::string, Bytes> &tensors) {
    for (const NamedTensor &tensor : parameters_.tensors_to_load())
      std::ranges::copy(tensors.at(tensor.name), tensor.values.bytes().begin());
    parameters_.loaded();
    move_to(ParameterPoint::kTraining);
  }
  std::string not_finite() { return first_not_finite(parameters_.tensors_to_save()); }

 private:
  void move_to(ParameterPoint point) {
    if (optimizer_->has_evaluation_point()) ASSERT_TRUE(parameters_.move_to(point, *optimizer_));
  }

  const TokenAxis axis_ = run_of(kSteps);
  Recipe::Training training_;
  TrainState state_;
  const std::unique_ptr<ProcessGroup> group_ = single_process();
  const std::unique_ptr<Model> model_ = *Model::create(
      plugin_under_test(PluginKind::kModel, "minicpm",
                        {{"layers", int64_t{1}}, {"width", int64_t{16}}, {"heads", int64_t{2}}, {"feed_forward", int64_t{24}}}),
      options());
  std::unique_ptr<LrScheduler> schedule_;
  std::unique_ptr<Optimizer> optimizer_;
  ParameterStore parameters_;
  GradientStore gradients_;
  ModelRunner runner_;
  TrainStep train_step_;
};

// With its defaults, and with the other storage of its moments where it has a choice.
std::vector<Settings> variants_of(const Manifest &optimizer) {
  std::vector<Settings> variants{required_by(optimizer)};
  if (std::ranges::find(optimizer.parameters, "moments", &ParameterSpec::name) == optimizer.parameters.end()) return variants;
  variants.push_back(variants.front());
  variants.back()["moments"] = std::string("bfloat16");
  if (optimizer.name == "sgd") variants.back()["momentum"] = 0.9;
  return variants;
}

// Finite, and the same bits when the run is stopped in the middle and goes on in another process.
TEST(OptimizersAndSchedules, AllRunTogetherAndResumeToTheSameBits) {
  const auto optimizers = shipped(PluginKind::kOptimizer), schedules = shipped(PluginKind::kLrScheduler);
  EXPECT_GE(optimizers.size(), 10u);
  EXPECT_GE(schedules.size(), 9u);
  size_t of_bfloat16 = 0;
  for (const Manifest &optimizer : optimizers) {
    for (const Settings &settings : variants_of(optimizer)) {
      of_bfloat16 += settings.contains("moments");
      for (const Manifest &schedule : schedules) {
        SCOPED_TRACE(optimizer.name + (settings.contains("moments") ? " of bfloat16 with " : " with ") + schedule.name);
        const auto start = [&] { return Process(optimizer.name, settings, schedule.name, required_by(schedule)); };
        Process straight = start(), first = start(), second = start();
        const auto begun = straight.saved();
        straight.train(0, kSteps);
        first.train(0, kSteps / 2);
        second.load(first.saved());
        second.train(kSteps / 2, kSteps);
        EXPECT_EQ(straight.not_finite(), "");
        EXPECT_NE(straight.saved(), begun);
        EXPECT_EQ(straight.saved(), second.saved());
      }
    }
  }
  EXPECT_EQ(of_bfloat16, 7u);
}

constexpr double kCurvature = 2, kNoise = 0.7;

// The variance of x after so many steps of the plugin sgd on 0.5 curvature x^2 with noise on the gradients, by the learning rate of each
// step. Each element is a run of its own, and begins at the minimum.
double measured_variance(uint64_t steps, const std::function<double(uint64_t)> &learning_rate) {
  constexpr size_t kRuns = 16'384;  // so that the variance is known to 1.1 %
  const auto sgd = optimizer_under_test("sgd");
  UpdatedParameter x(*sgd, std::vector<float>(kRuns));
  std::vector<float> draws(kRuns);
  const float scale = 1;
  for (uint64_t step = 0; step < steps; ++step) {
    fill_normal(11, step, 0, draws);
    for (size_t i = 0; i < kRuns; ++i) x.gradient[i] = static_cast<float>(kCurvature * x.master[i] + kNoise * draws[i]);
    x.learning_rate = learning_rate(step);
    const th_update whole = x.whole();
    EXPECT_TRUE(sgd->update(call_at(step, scale), {&whole, 1}));
  }
  double squares = 0;
  for (const double value : x.master) squares += value * value;
  return squares / kRuns;
}

// With a constant learning rate x stays as noisy as eta sigma^2 / (lambda (2 - eta lambda)); only a learning rate that falls ends the
// noise.
TEST(OptimizersAndSchedules, NoiseStaysUntilTheLearningRateFalls) {
  constexpr uint64_t kLong = 1'000;
  for (const double rate : {0.05, 0.4}) {
    const double stationary = rate * kNoise * kNoise / (kCurvature * (2 - rate * kCurvature));
    EXPECT_NEAR(measured_variance(100, [&](uint64_t) { return rate; }) / stationary, 1, 0.05) << rate;

    const TokenAxis axis = run_of(kLong);
    const Settings settings = {{"peak_lr", rate}, {"decay", std::string("90%")}, {"shape", std::string("linear")}};
    const auto wsd = *LrScheduler::create(plugin_under_test(PluginKind::kLrScheduler, "wsd", settings, &axis), axis.progress(0));
    const auto decayed = [&](uint64_t step) { return wsd->values(axis.progress(step))->learning_rate; };
    double expected = 0;
    for (uint64_t step = 0; step < kLong; ++step) {
      const double eta = decayed(step);
      expected = (1 - eta * kCurvature) * (1 - eta * kCurvature) * expected + eta * eta * kNoise * kNoise;
    }
    EXPECT_NEAR(measured_variance(kLong, decayed) / expected, 1, 0.05) << rate;
    EXPECT_LT(expected, stationary / 10) << rate;
  }
}

}  // namespace
}  // namespace trainhost
