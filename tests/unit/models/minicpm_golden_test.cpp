// minicpm in every place against PyTorch's autograd in double precision: tests/golden/minicpm_golden.py.
#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include <gtest/gtest.h>

#include "plugin_host/adapters/optimizer.h"
#include "support/golden_tensors.h"
#include "support/model_runner.h"
#include "tensor/tensor_view.h"
#include "unit/models/minicpm_place.h"

namespace trainhost {
namespace {

using Case = std::tuple<MinicpmPlace, const char *>;

class Minicpm : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (const std::string reason = why_not(place()); !reason.empty()) GTEST_SKIP() << reason;
    runner_.emplace(place().plugin, model_parameters(), options());
    for (size_t i = 0; i < runner_->parameter_count(); ++i) {
      std::ranges::copy(golden_.floats("parameter/" + runner_->name(i)), runner_->parameter(i).begin());
    }
    for (const float weight : batch_.loss_weights) loss_scale_ += double{weight};
    loss_scale_ = 1 / loss_scale_;
  }

  static const MinicpmPlace &place() { return std::get<0>(GetParam()); }
  static double tolerance(double float32, double bfloat16) { return place().tolerance(float32, bfloat16); }

  std::map<std::string, ParameterValue> model_parameters() const {
    std::map<std::string, ParameterValue> result{{"tied_embeddings", golden_.text("tied_embeddings") == "true"}};
    for (const char *name : {"layers", "width", "heads", "kv_heads", "feed_forward", "dim_model_base"}) {
      result[name] = int64_t{std::stoll(golden_.text(name))};
    }
    for (const char *name : {"scale_emb", "scale_depth", "rope_theta", "norm_epsilon", "init_std"})
      result[name] = std::stod(golden_.text(name));
    return result;
  }

  TokenBatch read_batch() const {
    const auto &shape = golden_.shape("tokens");
    return {.sequences = static_cast<uint32_t>(shape[0]),
            .sequence_length = static_cast<uint32_t>(shape[1]),
            .tokens = golden_.integers("tokens"),
            .targets = golden_.integers("targets"),
            .loss_weights = golden_.floats("loss_weights"),
            .positions = golden_.integers("positions"),
            .document_starts = golden_.integers("document_starts"),
            .samples = {}};
  }

  ModelRunner::Options options() const {
    const auto length = static_cast<int32_t>(batch_.sequence_length);
    return {.vocabulary = std::stoi(golden_.text("vocabulary")),
            .sequence_length = length,
            .tokens = int64_t{batch_.sequences} * length,
            .device = &device_of(place()),
            .bfloat16 = place().bfloat16};
  }

  // The largest difference relative to the largest value expected.
  static double difference(std::span<const float> found, const std::vector<float> &expected) {
    EXPECT_EQ(found.size(), expected.size());
    double worst = 0, largest = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      worst = std::max(worst, std::abs(double{found[i]} - expected[i]));
      largest = std::max(largest, std::abs(double{expected[i]}));
    }
    return worst / largest;
  }

  GoldenTensors golden_{std::string(TRAINHOST_SOURCE_DIR "/tests/golden/minicpm/") + std::get<1>(GetParam()) + ".safetensors"};
  TokenBatch batch_ = read_batch();
  std::optional<ModelRunner> runner_;
  double loss_scale_ = 0;
};

TEST_P(Minicpm, GivesTheLogitsAndLossesOfPyTorch) {
  EXPECT_LT(difference(runner_->logits(batch_), golden_.floats("logits")), tolerance(5e-6, 2e-2));
  std::vector<float> token_losses;
  EXPECT_NEAR(runner_->evaluate(batch_, loss_scale_, &token_losses), golden_.floats("loss")[0], tolerance(5e-6, 5e-3));
  EXPECT_LT(difference(token_losses, golden_.floats("token_losses")), tolerance(5e-6, 2e-2));
}

TEST_P(Minicpm, GivesTheGradientsOfPyTorch) {
  EXPECT_NEAR(runner_->train(batch_, loss_scale_), golden_.floats("loss")[0], tolerance(5e-6, 5e-3));
  for (size_t i = 0; i < runner_->parameter_count(); ++i) {
    EXPECT_LT(difference(runner_->gradient(i), golden_.floats("gradient/" + runner_->name(i))), tolerance(2e-5, 4e-2)) << runner_->name(i);
  }
}

TEST_P(Minicpm, FollowsTwentyStepsOfAdamW) {
  const auto adamw = *Optimizer::create(plugin_under_test(PluginKind::kOptimizer, "adamw", {{"weight_decay", 0.1}}));
  std::vector<std::vector<float>> states(2 * runner_->parameter_count());
  const float clip = 1;
  for (uint64_t step = 0; step < 20; ++step) {
    EXPECT_NEAR(runner_->train(batch_, loss_scale_), golden_.floats("losses")[step], tolerance(1e-4, 2e-2)) << "step " << step;
    for (size_t i = 0; i < runner_->parameter_count(); ++i) {
      const th_parameter_info &info = runner_->model().parameters()[i];
      const auto size = static_cast<int64_t>(runner_->parameter(i).size());
      TensorView master(runner_->parameter(i).data(), {size}), gradient(runner_->gradient(i).data(), {size});
      for (size_t s = 2 * i; s < 2 * i + 2; ++s) states[s].resize(runner_->parameter(i).size(), 0.0f);
      TensorView first(states[2 * i].data(), {size}), second(states[2 * i + 1].data(), {size});
      const th_tensor views[] = {first.view(), second.view()};
      const th_update update{.info = &info,
                             .master = master.view(),
                             .gradient = gradient.view(),
                             .compute_copy = {},
                             .states = views,
                             .learning_rate = 0.01 * info.lr_scale,
                             .weight_decay_multiplier = static_cast<double>(info.weight_decay)};
      const th_update_call call{sizeof(th_update_call), 0, step, &clip, std::nan(""), nullptr, nullptr};
      ASSERT_TRUE(adamw->update(call, {&update, 1}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Minicpm,
                         testing::Combine(testing::ValuesIn(minicpm_places()),
                                          testing::Values("tied", "untied", "grouped_queries", "documents", "long_documents")),
                         [](const auto &info) { return std::get<0>(info.param).name + "_" + std::get<1>(info.param); });

}  // namespace
}  // namespace trainhost
