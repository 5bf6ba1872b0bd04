// What is measured while a bigram trains by gradient descent, against closed forms.
#include "train/step_telemetry.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/random.h"
#include "support/plugin_under_test.h"
#include "train/train_step.h"

namespace trainhost {
namespace {

constexpr uint32_t kVocabulary = 61, kLength = 8, kSteps = 12;
constexpr double kRate = 0.5;

class TelemetryReports : public MetricSink {
 public:
  void step(const StepReport &) override {}
  void evaluation(const EvaluationReport &) override {}
  void telemetry(const TelemetryReport &report) override { all.push_back(report); }
  std::vector<TelemetryReport> all;
};

// Of 16 tokens, of which `counted` count.
TokenBatch micro_batch(uint64_t step, uint32_t number, uint32_t counted) {
  TokenBatch batch;
  batch.sequences = 2;
  batch.sequence_length = kLength;
  for (uint32_t i = 0; i < 2 * kLength; ++i) {
    const uint64_t bits = random_bits(5, step, number * 100 + i);
    batch.tokens.push_back(static_cast<int32_t>(bits % kVocabulary));
    batch.targets.push_back(static_cast<int32_t>((bits * 7 + 3) % kVocabulary));
    batch.loss_weights.push_back(i < counted ? 1.0f : 0.0f);
    batch.positions.push_back(static_cast<int32_t>(i % kLength));
  }
  batch.document_starts = {0, kLength, 2 * kLength};
  return batch;
}

std::vector<uint64_t> bits_of(const TelemetryReport &report) {
  std::vector<uint64_t> bits{report.step, report.tokens};
  for (const double value : {report.gradient_square, report.gradient_variance, report.noise_scale, report.gradient_cosine, report.d1,
                             report.d2, report.curvature, report.update_ratio, report.largest_update_ratio})
    bits.push_back(std::bit_cast<uint64_t>(value));
  return bits;
}

// A run of kSteps steps of some micro-batches.
class TelemetryRun {
 public:
  TelemetryRun(std::vector<uint32_t> counted, double every_steps, Reduction reduction = Reduction::kFast, double checkpoint_every = kSteps)
      : counted_(std::move(counted)),
        every_{every_steps, Amount::Unit::kSteps, "", {}},
        checkpoint_every_{checkpoint_every, Amount::Unit::kSteps, "", {}} {
    recipe_.packing.sequence_length = kLength;
    recipe_.training.batch = Batch::constant(counted_.size() * 2 * kLength);
    recipe_.run.tokens = recipe_.training.batch.tokens * kSteps;
    recipe_.training.gradient_clip = 0;
    recipe_.training.on_spike = "continue";
    recipe_.phases.emplace_back();
    axis_.emplace(recipe_);
    th_model_options options{};
    options.struct_size = sizeof options;
    options.vocabulary_size = kVocabulary;
    options.device_type = TH_DEVICE_CPU;
    options.compute_code = TH_DTYPE_FLOAT;
    options.compute_bits = 32;
    options.sequence_length = kLength;
    options.tokens = 2 * kLength;
    model_ = *Model::create(plugin_under_test(PluginKind::kModel, "bigram", {{"rank", int64_t{6}}}), options);
    optimizer_ = *Optimizer::create(plugin_under_test(PluginKind::kOptimizer, "sgd", {{"momentum", 0.0}}));
    parameters_.emplace(*ParameterStore::create(*model_, optimizer_.get(), unspread(*model_, *process_)));
    parameters_->initialise(3);
    gradients_.emplace(*model_, *parameters_, reduction);
    runner_.emplace(ModelRunner::Parts{.model = *model_, .parameters = *parameters_, .gradients = &*gradients_, .recomputed = {}});
    reporter_.show_on(&reports_);
    look_on();
  }

  // From here on, as a resumed process does.
  void look_on() {
    telemetry_.emplace(StepTelemetry::Parts{.every = every_,
                                            .checkpoint_every = checkpoint_every_,
                                            .axis = *axis_,
                                            .parameters = *parameters_,
                                            .gradients = *gradients_,
                                            .reporter = reporter_});
  }
  void look_away() { telemetry_.reset(); }
  bool needs_next_step() const { return telemetry_->needs_next_step(); }

  TrainStep::Report step(double rate = kRate) {
    if (telemetry_) telemetry_->before_step(state);
    StepBatch batch{.step = state.step, .micro_batches = {}};
    for (uint32_t i = 0; i < counted_.size(); ++i) batch.micro_batches.push_back(micro_batch(state.step, i, counted_[i]));
    const TrainStep::Report report = update(batch, rate);
    ++state.step;
    if (telemetry_) {
      EXPECT_TRUE(telemetry_->after_step(state, {.step = state.step,
                                                 .tokens = axis_->tokens_at_step(state.step),
                                                 .phase = "",
                                                 .stage = "",
                                                 .gradient_norm = report.gradient_norm}));
    }
    return report;
  }

  // As after a step whose numbers were not finite.
  void go_back_to(uint64_t step) {
    telemetry_->before_step(state);
    const uint64_t fault = state.step + 1;
    state.step = step;
    EXPECT_TRUE(telemetry_->after_step(state, {.step = fault, .phase = "", .stage = ""}));
  }

  TrainStep::Report update(const StepBatch &batch, double rate) {
    TrainStep train_step(*runner_, *parameters_, *gradients_, recipe_.training, 1);
    ScheduleValues schedule;
    schedule.learning_rate = rate;
    schedule.momentum = std::numeric_limits<double>::quiet_NaN();
    const auto report = train_step.run(batch, *optimizer_, schedule, state);
    EXPECT_TRUE(report) << (report ? "" : report.error().message);
    return report ? *report : TrainStep::Report{};
  }

  // One for each parameter.
  std::vector<std::vector<float>> values() {
    std::vector<std::vector<float>> all;
    for (const NamedTensor &tensor : parameters_->tensors_to_save())
      std::ranges::copy(tensor.values.floats(), std::back_inserter(all.emplace_back()));
    return all;
  }

  const std::vector<TelemetryReport> &reports() const { return reports_.all; }

  TrainState state;

 private:
  const std::vector<uint32_t> counted_;
  const Amount every_, checkpoint_every_;
  Recipe recipe_;
  std::optional<TokenAxis> axis_;
  std::unique_ptr<ProcessGroup> process_ = single_process();
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<ParameterStore> parameters_;
  std::optional<GradientStore> gradients_;
  std::optional<ModelRunner> runner_;
  Reporter reporter_;
  TelemetryReports reports_;
  std::optional<StepTelemetry> telemetry_;
};

double dot(const std::vector<float> &a, const std::vector<float> &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

struct Vectors {
  std::vector<std::vector<float>> parameters;

  friend double operator*(const Vectors &a, const Vectors &b) {
    double sum = 0;
    for (size_t i = 0; i < a.parameters.size(); ++i) sum += dot(a.parameters[i], b.parameters[i]);
    return sum;
  }
  friend Vectors operator-(const Vectors &a, const Vectors &b) {
    Vectors difference = a;
    for (size_t i = 0; i < a.parameters.size(); ++i) {
      for (size_t j = 0; j < a.parameters[i].size(); ++j) difference.parameters[i][j] -= b.parameters[i][j];
    }
    return difference;
  }
};

// A36. The update is v = -rate g, so the parameters before and after the two steps say everything: g = -v / rate, h = -w / rate.
TEST(StepTelemetryTest, A36MeasuresGradientDescentAlongItsUpdates) {
  for (const uint64_t every : {1u, 3u, 4u}) {
    TelemetryRun run({16, 16}, static_cast<double>(every));
    std::vector<Vectors> at{{run.values()}};
    for (uint32_t step = 0; step < kSteps; ++step) {
      run.step();
      at.push_back({run.values()});
    }
    const uint64_t interval = std::max<uint64_t>(every, 2);  // a step belongs to one measurement
    ASSERT_EQ(run.reports().size(), kSteps / interval);
    for (size_t i = 0; i < run.reports().size(); ++i) {
      const TelemetryReport &report = run.reports()[i];
      ASSERT_EQ(report.step, (i + 1) * interval);
      EXPECT_EQ(report.tokens, report.step * 32);
      const Vectors &before = at[report.step - 2], v = at[report.step - 1] - before, w = at[report.step] - at[report.step - 1];
      const double length = std::sqrt(v * v), d1 = -(w * v) / kRate / length, d2 = (v * v - w * v) / kRate / (v * v);
      EXPECT_NEAR(report.gradient_cosine, w * v / length / std::sqrt(w * w), 1e-4);
      EXPECT_NEAR(report.d1 / d1, 1, 1e-4);
      EXPECT_NEAR(report.d2 / d2, 1, 1e-4);
      EXPECT_NEAR(report.curvature / (std::abs(d2) / std::pow(1 + d1 * d1, 1.5)), 1, 1e-4);
      EXPECT_NEAR(report.update_ratio / (length / std::sqrt(before * before)), 1, 1e-6);
      double largest = 0;  // each of the two units has one parameter
      for (size_t unit = 0; unit < 2; ++unit)
        largest = std::max(largest, dot(v.parameters[unit], v.parameters[unit]) / dot(before.parameters[unit], before.parameters[unit]));
      EXPECT_NEAR(report.largest_update_ratio / std::sqrt(largest), 1, 1e-6);
      EXPECT_GT(report.largest_update_ratio, report.update_ratio);
    }
  }
}

// A26. The gradient norms of the micro-batches are those of steps of one micro-batch each.
TEST(StepTelemetryTest, A26ComparesMicroBatchesWithTheWholeStep) {
  const std::vector<uint32_t> counted{12, 16, 0, 5};
  for (const Reduction reduction : {Reduction::kFast, Reduction::kFixed}) {
    TelemetryRun run(counted, 2, reduction);
    run.step(0);
    const double whole = std::pow(run.step(0).gradient_norm, 2);
    double squares = 0, inverses = 0, measured = 0;
    for (uint32_t i = 0; i < (reduction == Reduction::kFast ? 1 : 4); ++i) {
      if (counted[i] == 0) continue;
      squares += std::pow(run.update({.step = 1, .micro_batches = {micro_batch(1, i, counted[i])}}, 0).gradient_norm, 2);
      inverses += 1.0 / counted[i];
      ++measured;
    }
    const double small = measured / inverses, big = 12 + 16 + 5, small_square = squares / measured;
    const double square = (big * whole - small * small_square) / (big - small);
    const double trace = (small_square - whole) / (1 / small - 1 / big);
    ASSERT_EQ(run.reports().size(), 1u);
    const TelemetryReport &report = run.reports().front();
    EXPECT_NEAR(report.gradient_square, square, 1e-5 * whole);
    EXPECT_NEAR(report.gradient_variance / trace, 1, 1e-5);
    EXPECT_NEAR(run.state.noise.trace / (0.01 * trace), 1, 1e-5);
  }
}

TEST(StepTelemetryTest, DoesNotKnowTheNoiseOfOneMicroBatch) {
  TelemetryRun run({16}, 2);
  for (uint32_t step = 0; step < 4; ++step) run.step();
  ASSERT_EQ(run.reports().size(), 2u);
  for (const TelemetryReport &report : run.reports()) {
    EXPECT_TRUE(std::isnan(report.noise_scale) && std::isnan(report.gradient_square) && std::isnan(report.gradient_variance));
    EXPECT_FALSE(std::isnan(report.d1));
  }
}

TEST(StepTelemetryTest, LeavesTheTrainingAsItIs) {
  for (const Reduction reduction : {Reduction::kFast, Reduction::kFixed}) {
    TelemetryRun watched({16, 9, 16}, 1, reduction), alone({16, 9, 16}, 1, reduction);
    alone.look_away();
    for (uint32_t step = 0; step < kSteps; ++step) {
      const double loss = watched.step().loss;
      EXPECT_EQ(loss, alone.step().loss);
    }
    EXPECT_EQ(watched.values(), alone.values());
  }
}

// Due at steps 4, 8 and 12. What a measurement remembers between its two steps no checkpoint has.
TEST(StepTelemetryTest, GoesOnInAnotherProcess) {
  for (const double checkpoint_every : {12.0, 7.0}) {
    const uint64_t second = checkpoint_every == 7 ? 9 : 8;  // a checkpoint after step 7 puts it off
    TelemetryRun undisturbed({16, 16}, 4, Reduction::kFast, checkpoint_every);
    for (uint32_t step = 0; step < kSteps; ++step) {
      undisturbed.step();
      const uint64_t done = undisturbed.state.step;
      EXPECT_EQ(undisturbed.needs_next_step(), done == 3 || done == second - 1 || done == 11) << "a stop waits";
    }
    ASSERT_EQ(undisturbed.reports().size(), 3u);
    EXPECT_EQ(undisturbed.reports()[1].step, second);
    for (const TelemetryReport &report : undisturbed.reports()) EXPECT_FALSE(std::isnan(report.d1)) << report.step;
    for (const uint64_t resumed_at : {4u, 5u, 6u, 7u, 8u, 9u}) {
      TelemetryRun run({16, 16}, 4, Reduction::kFast, checkpoint_every);
      while (run.state.step < resumed_at) run.step();
      if (run.needs_next_step()) continue;
      run.state = TrainState::from_json(run.state.to_json(), resumed_at).value();
      run.look_on();
      while (run.state.step < kSteps) run.step();
      ASSERT_EQ(run.reports().size(), 3u);
      for (size_t i = 0; i < 3; ++i) EXPECT_EQ(bits_of(run.reports()[i]), bits_of(undisturbed.reports()[i])) << resumed_at << ", " << i;
    }
  }
}

// Where a measurement can neither be made nor put off: the next one would share a step with it, or the next step is saved as well, or
// the run ends. The noise, which takes one step, is known.
TEST(StepTelemetryTest, DoesNotKnowWhatACheckpointParts) {
  struct Case {
    double every, checkpoint_every;
    std::vector<uint64_t> steps, unknown;
  };
  for (const Case &one : {Case{2, 3, {2, 4, 6, 8, 10, 12}, {4, 10}}, Case{3, 1, {3, 6, 9, 12}, {3, 6, 9, 12}}, Case{6, 11, {6, 12}, {12}},
                          Case{3, 5, {3, 7, 9, 12}, {}}}) {
    TelemetryRun run({16, 16}, one.every, Reduction::kFast, one.checkpoint_every);
    for (uint32_t step = 0; step < kSteps; ++step) run.step();
    std::vector<uint64_t> steps, unknown;
    for (const TelemetryReport &report : run.reports()) {
      steps.push_back(report.step);
      if (std::isnan(report.d1)) unknown.push_back(report.step);
      EXPECT_FALSE(std::isnan(report.gradient_variance));
    }
    EXPECT_EQ(steps, one.steps) << one.every << ", " << one.checkpoint_every;
    EXPECT_EQ(unknown, one.unknown) << one.every << ", " << one.checkpoint_every;
  }
}

TEST(StepTelemetryTest, StartsAnewWhenTrainingGoesBack) {
  TelemetryRun run({16, 16}, 4);
  for (uint32_t step = 0; step < 3; ++step) run.step();
  EXPECT_TRUE(run.needs_next_step());
  run.go_back_to(2);
  EXPECT_FALSE(run.needs_next_step());
  run.step();
  run.step();
  ASSERT_EQ(run.reports().size(), 1u);
  EXPECT_FALSE(std::isnan(run.reports().front().d1));
}

TEST(StepTelemetryTest, ForgetsAStepThatIsNotFinite) {
  TelemetryRun run({16, 16}, 2);
  run.step();
  run.step();
  EXPECT_FALSE(std::isnan(run.reports().back().d1));
  run.step(std::numeric_limits<double>::infinity());  // spoils the parameters
  const NoiseScale before = run.state.noise;
  run.step();
  EXPECT_TRUE(std::isnan(run.reports().back().d1));
  EXPECT_EQ(run.state.noise.trace, before.trace);
  EXPECT_EQ(run.state.noise.gradient_square, before.gradient_square);
}

}  // namespace
}  // namespace trainhost
