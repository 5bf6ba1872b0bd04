// MC-muP: with minicpm's scaling, what a step does to activations does not depend on the width. The coordinate check of Tensor Programs V
// (arXiv 2203.03466, D.1), over the host's own step with AdamW. R rows (tokens), C width, V vocabulary.
#include <cmath>
#include <numeric>
#include <optional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "support/plugin_under_test.h"
#include "tensor/tensor_view.h"
#include "train/train_step.h"

namespace trainhost {
namespace {

constexpr int64_t kLayers = 2, kHeadDimension = 32;
constexpr size_t kUnits = kLayers + 2;
constexpr int32_t kVocabulary = 96;
constexpr uint32_t kSequences = 2, kLength = 32, kRows = kSequences * kLength;
constexpr double kLearningRate = 0.01;  // MiniCPM's
constexpr uint64_t kSteps = 5, kSeeds = 2;

TokenBatch random_tokens(uint64_t seed) {
  TokenBatch batch;
  batch.sequences = kSequences;
  batch.sequence_length = kLength;
  for (uint32_t row = 0; row < kRows; ++row) {
    batch.tokens.push_back(static_cast<int32_t>(random_bits(seed, 1, row) % kVocabulary));
    batch.targets.push_back(static_cast<int32_t>(random_bits(seed, 2, row) % kVocabulary));
    batch.positions.push_back(static_cast<int32_t>(row % kLength));
  }
  batch.loss_weights.assign(kRows, 1.0f);
  batch.document_starts = {0, kLength, kRows};
  return batch;
}

// What each unit gives for a batch: the hidden units' rows [R, C], the logits [R, V].
using Outputs = std::vector<std::vector<float>>;

class TrainedModel {
 public:
  TrainedModel(int64_t width, bool tied_embeddings, uint64_t seed)
      : batch_(random_tokens(seed)),
        optimizer_(*Optimizer::create(plugin_under_test(PluginKind::kOptimizer, "adamw"))),
        model_(*Model::create(plugin_under_test(PluginKind::kModel, "minicpm",
                                                {{"layers", kLayers},
                                                 {"width", width},
                                                 {"heads", width / kHeadDimension},
                                                 {"feed_forward", width * 5 / 2},
                                                 {"tied_embeddings", tied_embeddings}}),
                              options())),
        parameters_(*ParameterStore::create(*model_, optimizer_.get(), unspread(*model_, *process_))),
        gradients_(*model_, parameters_, Reduction::kFast),
        runner_({.model = *model_, .parameters = parameters_, .gradients = &gradients_, .recomputed = {}}) {
    parameters_.initialise(seed);
  }

  // Trains, and gives outputs().
  Outputs step() {
    ScheduleValues schedule;
    schedule.learning_rate = kLearningRate;
    schedule.momentum = std::nan("");
    const auto report =
        TrainStep(runner_, parameters_, gradients_, settings_, 1).run({state_.step, {batch_}}, *optimizer_, schedule, state_);
    EXPECT_TRUE(report && report->outcome == TrainStep::Outcome::kUpdated);
    ++state_.step;
    return outputs();
  }

  Outputs outputs() {
    Outputs outputs;
    for (uint32_t unit = 0; unit + 1 < model_->units().size(); ++unit) {
      std::vector<float> rows = forward(unit, outputs.empty() ? nullptr : outputs.back().data());
      outputs.push_back(std::move(rows));
    }
    std::vector<int32_t> all(kRows);
    std::iota(all.begin(), all.end(), 0);
    outputs.emplace_back(size_t{kRows} * kVocabulary);
    EXPECT_TRUE(runner_.logits(batch_, all, outputs.back()));
    return outputs;
  }

 private:
  static th_model_options options() {
    return {.struct_size = sizeof(th_model_options),
            .vocabulary_size = kVocabulary,
            .device_type = TH_DEVICE_CPU,
            .device_index = 0,
            .compute_code = TH_DTYPE_FLOAT,
            .compute_bits = 32,
            .outline = 0,
            .sequence_length = kLength,
            .tokens = kRows};
  }

  std::vector<float> forward(uint32_t unit, const float *input) {
    const auto width = static_cast<int64_t>(model_->units()[unit].output_width);
    std::vector<float> output(kRows * static_cast<size_t>(width));
    const auto of_batch = [](const auto &items) { return TensorView(items.data(), {kSequences, kLength}); };
    TensorView tokens = of_batch(batch_.tokens), targets = of_batch(batch_.targets), weights = of_batch(batch_.loss_weights),
               positions = of_batch(batch_.positions), starts(batch_.document_starts.data(), {kSequences + 1}), in(input, {kRows, width}),
               out(output.data(), {kRows, width});
    const th_batch batch{.struct_size = sizeof(th_batch),
                         .sequences = kSequences,
                         .sequence_length = kLength,
                         .document_count = kSequences,
                         .tokens = tokens.view(),
                         .targets = targets.view(),
                         .loss_weights = weights.view(),
                         .positions = positions.view(),
                         .document_starts = starts.view(),
                         .loss_scale = 1,
                         .token_losses = {}};
    const th_call call{.struct_size = sizeof(th_call),
                       .training = 0,
                       .parameter_lifetime = TH_KEEP_DURING_CALL,
                       .keep = 0,
                       .stream = cpu_device().stream(),
                       .seed = 1,
                       .random_stream = unit};
    th_tensor result = out.view();
    EXPECT_TRUE(model_->forward(unit, call, batch, *parameters_.use(unit), in.view(), result));
    parameters_.release(unit);
    return output;
  }

  TokenBatch batch_;
  Recipe::Training settings_;
  TrainState state_;
  std::unique_ptr<ProcessGroup> process_ = single_process();
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Model> model_;
  ParameterStore parameters_;
  GradientStore gradients_;
  ModelRunner runner_;
};

struct Coordinate {
  double size = 0, change = 0;  // root mean squares of what a unit gives, and of how that differs from before the first step
};
using Coordinates = std::vector<std::vector<Coordinate>>;  // [step][unit], means over the seeds

double root_mean_square(const std::vector<float> &values, const std::vector<float> *origin = nullptr) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += std::pow(double{values[i]} - (origin != nullptr ? double{(*origin)[i]} : 0.0), 2);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

Coordinates measure(int64_t width, bool tied_embeddings) {
  Coordinates coordinates(kSteps + 1, std::vector<Coordinate>(kUnits));
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    TrainedModel model(width, tied_embeddings, seed);
    const Outputs first = model.outputs();
    for (uint64_t step = 0; step <= kSteps; ++step) {
      const Outputs outputs = step == 0 ? first : model.step();
      for (size_t unit = 0; unit < kUnits; ++unit) {
        coordinates[step][unit].size += root_mean_square(outputs[unit]) / kSeeds;
        coordinates[step][unit].change += root_mean_square(outputs[unit], &first[unit]) / kSeeds;
      }
    }
  }
  return coordinates;
}

// d log y / d log x by least squares.
double log_slope(const std::vector<double> &x, const std::vector<double> &y) {
  double sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double log_x = std::log(x[i]), log_y = std::log(y[i]);
    sum_x += log_x;
    sum_y += log_y;
    sum_xx += log_x * log_x;
    sum_xy += log_x * log_y;
  }
  const auto count = static_cast<double>(x.size());
  return (count * sum_xy - sum_x * sum_y) / (count * sum_xx - sum_x * sum_x);
}

class MinicpmWidths : public testing::TestWithParam<bool> {};

TEST_P(MinicpmWidths, DoNotMoveTheCoordinates) {
  const std::vector<double> widths{64, 128, 256, 512, 1024};
  std::vector<Coordinates> measured;
  for (const double width : widths) measured.push_back(measure(static_cast<int64_t>(width), GetParam()));
  const auto slope = [&](uint64_t step, size_t unit, double Coordinate::*what) {
    std::vector<double> values;
    for (const Coordinates &coordinates : measured) values.push_back(coordinates[step][unit].*what);
    return log_slope(widths, values);
  };
  for (uint64_t step = 0; step <= kSteps; ++step) {
    for (size_t unit = 0; unit < kUnits; ++unit) {
      SCOPED_TRACE(fmt::format("unit {} after step {}", unit, step));
      EXPECT_LT(slope(step, unit, &Coordinate::size), 0.1);
      if (step == 0) continue;
      // The random logits of the start fall with the root of the width; what is learned must not.
      const double least = unit == kUnits - 1 ? -0.5 : -0.15;
      EXPECT_LT(slope(step, unit, &Coordinate::change), 0.1);
      EXPECT_GT(slope(step, unit, &Coordinate::change), least);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Heads, MinicpmWidths, testing::Bool(), [](const auto &info) { return info.param ? "tied" : "untied"; });

}  // namespace
}  // namespace trainhost
