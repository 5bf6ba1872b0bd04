// What all optimizers of granularity element have in common.
#include <gtest/gtest.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

constexpr size_t kCount = 70'001;

class ElementwiseOptimizer : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Optimizer> optimizer() const { return optimizer_under_test(GetParam()); }
};

TEST_P(ElementwiseOptimizer, GivesTheSameBitsHoweverAParameterIsCut) {
  const auto optimizer = this->optimizer();
  ASSERT_EQ(optimizer->granularity(), TH_GRANULARITY_ELEMENT);
  UpdatedParameter whole(*optimizer, numbers(kCount, 1)), pieces(*optimizer, numbers(kCount, 1));
  whole.gradient = pieces.gradient = numbers(kCount, 2);
  const float scale = 0.3f;
  for (uint64_t step = 0; step < 3; ++step) {
    const th_update all = whole.whole();
    ASSERT_TRUE(optimizer->update(call_at(step, scale), {&all, 1}));
    for (size_t first = 0; first < kCount; first += 3'333) {
      const th_update piece = pieces.piece(first, std::min<size_t>(3'333, kCount - first));
      ASSERT_TRUE(optimizer->update(call_at(step, scale), {&piece, 1}));
    }
  }
  EXPECT_NE(whole.master, numbers(kCount, 1));
  EXPECT_EQ(whole.master, pieces.master);
  EXPECT_EQ(whole.states, pieces.states);
}

TEST_P(ElementwiseOptimizer, ScalesGradientsBeforeAnythingElse) {
  const auto optimizer = this->optimizer();
  UpdatedParameter scaled(*optimizer, numbers(kCount, 1)), halved(*optimizer, numbers(kCount, 1));
  scaled.gradient = halved.gradient = numbers(kCount, 2);
  for (float &g : halved.gradient) g /= 2;
  const float half = 0.5f, one = 1;
  const th_update first = scaled.whole(), second = halved.whole();
  ASSERT_TRUE(optimizer->update(call_at(0, half), {&first, 1}));
  ASSERT_TRUE(optimizer->update(call_at(0, one), {&second, 1}));
  EXPECT_EQ(scaled.master, halved.master);
  EXPECT_EQ(scaled.states, halved.states);
}

INSTANTIATE_TEST_SUITE_P(All, ElementwiseOptimizer, testing::Values("adagrad", "adam", "adamw", "lion", "ademamix"),
                         [](const auto &info) { return info.param; });

// A30: decoupled, it does not see the gradient. Only the step does, so parameters that differ by the decay alone differ by what was taken.
TEST(DecoupledDecay, DoesNotDependOnTheScaleOfGradients) {
  for (const char *plugin : {"adamw", "lion", "ademamix"}) {
    for (const float scale : {1e-3f, 1.0f, 1e3f}) {
      const auto with = optimizer_under_test(plugin, {{"weight_decay", 0.25}}),
                 without = optimizer_under_test(plugin, {{"weight_decay", 0.0}});
      UpdatedParameter decayed(*with, {2.0f}), free(*without, {2.0f});
      decayed.gradient = free.gradient = {0.5f};
      const th_update first = decayed.whole(), second = free.whole();
      ASSERT_TRUE(with->update(call_at(0, scale), {&first, 1}));
      ASSERT_TRUE(without->update(call_at(0, scale), {&second, 1}));
      EXPECT_NEAR(free.master[0] - decayed.master[0], 0.01 * 0.25 * 2, 1e-6) << plugin << " at " << scale;
    }
  }
}

// Lion's steps have one length, and none where there is no direction.
TEST(Lion, TakesStepsOfTheLearningRate) {
  const auto lion = optimizer_under_test("lion", {{"weight_decay", 0.0}});
  UpdatedParameter parameter(*lion, {1, 1, 1});
  parameter.gradient = {1e-9f, -1e9f, 0};
  parameter.learning_rate = 0.25;
  const float scale = 1;
  const th_update whole = parameter.whole();
  ASSERT_TRUE(lion->update(call_at(0, scale), {&whole, 1}));
  EXPECT_EQ(parameter.master, (std::vector<float>{0.75f, 1.25f, 1}));
}

TEST(Adagrad, RefusesAMomentumOfTheSchedule) {
  for (const char *plugin : {"adagrad", "adafactor"}) {
    const auto optimizer = optimizer_under_test(plugin);
    UpdatedParameter parameter(*optimizer, {1});
    const th_update whole = parameter.whole();
    const float scale = 1;
    const auto result = update(*optimizer, call_at(0, scale, 0.9), {&whole, 1});
    ASSERT_FALSE(result) << plugin;
    EXPECT_NE(result.error().message.find("averages no gradients"), std::string::npos) << result.error().message;
    EXPECT_EQ(parameter.master[0], 1);
  }
}

}  // namespace
}  // namespace trainhost
