#include <gtest/gtest.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

double rms(const std::vector<float> &values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(Adafactor, KeepsARowAndAColumnOfAMatrixAndAllOfAVector) {
  const auto adafactor = optimizer_under_test("adafactor");
  EXPECT_EQ(adafactor->granularity(), TH_GRANULARITY_TENSOR);
  UpdatedParameter matrix(*adafactor, numbers(600, 1), "weight", {20, 30}), vector(*adafactor, numbers(600, 1));
  EXPECT_EQ(matrix.state_names, (std::vector<std::string>{"row_variance", "column_variance"}));
  EXPECT_EQ(matrix.states[0].size(), 20u);
  EXPECT_EQ(matrix.states[1].size(), 30u);
  EXPECT_EQ(vector.state_names, std::vector<std::string>{"variance"});
  EXPECT_EQ(vector.states[0].size(), 600u);
}

// At the first update the averages are those of its gradient alone: of one of rank 1 the factors give the very squares, so each element
// moves by the learning rate x rms of the parameter along its sign.
TEST(Adafactor, FindsTheSquaresOfAGradientOfRankOne) {
  const auto adafactor = optimizer_under_test("adafactor");
  constexpr int64_t kRows = 37, kColumns = 2'500;  // a row of more than one block
  const std::vector<float> start = numbers(kRows * kColumns, 1), left = numbers(kRows, 2), right = numbers(kColumns, 3);
  UpdatedParameter parameter(*adafactor, start, "weight", {kRows, kColumns});
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    parameter.gradient[static_cast<size_t>(i)] = left[static_cast<size_t>(i / kColumns)] * right[static_cast<size_t>(i % kColumns)];
  }
  const float scale = 7;
  const th_update whole = parameter.whole();
  ASSERT_TRUE(update(*adafactor, call_at(0, scale), {&whole, 1}));
  const double length = 0.01 * rms(start);
  for (size_t i = 0; i < start.size(); ++i) {
    ASSERT_NEAR(start[i] - parameter.master[i], std::copysign(length, parameter.gradient[i]), 1e-6) << i;
  }
}

// Where the averages know only small gradients, a large one would make a step of more than the parameter's size.
TEST(Adafactor, ClipsTheRootMeanSquareOfAStep) {
  for (const double clip : {1.0, 2.0}) {
    const auto adafactor = optimizer_under_test("adafactor", {{"clip", clip}});
    UpdatedParameter parameter(*adafactor, numbers(5'000, 1), "weight", {50, 100});
    const float small = 1e-3f, large = 1;
    for (uint64_t step = 0; step < 20; ++step) {
      parameter.gradient = numbers(5'000, static_cast<uint32_t>(step) + 2);
      const std::vector<float> before = parameter.master;
      const th_update whole = parameter.whole();
      ASSERT_TRUE(update(*adafactor, call_at(step, step == 19 ? large : small), {&whole, 1}));
      std::vector<float> moved(before.size());
      for (size_t i = 0; i < moved.size(); ++i) moved[i] = parameter.master[i] - before[i];
      if (step < 19) continue;
      EXPECT_NEAR(rms(moved) / (0.01 * rms(before) * clip), 1, 1e-4) << clip;
    }
  }
}

TEST(Adafactor, NeverTakesAParameterForSmallerThanItsSmallestRms) {
  const auto adafactor = optimizer_under_test("adafactor", {{"smallest_rms", 0.5}});
  UpdatedParameter parameter(*adafactor, std::vector<float>(6), "weight", {2, 3});
  parameter.gradient = std::vector<float>(6, -2.0f);
  const float scale = 1;
  const th_update whole = parameter.whole();
  ASSERT_TRUE(update(*adafactor, call_at(0, scale), {&whole, 1}));
  for (const float value : parameter.master) EXPECT_NEAR(value, 0.01 * 0.5, 1e-7);
}

TEST(Adafactor, RefusesAStateOfAnotherShape) {
  const auto adafactor = optimizer_under_test("adafactor");
  UpdatedParameter parameter(*adafactor, numbers(6, 1), "layers.0.w", {2, 3});
  th_update whole = parameter.whole();
  std::vector<th_tensor> states(whole.states, whole.states + 2);
  states[1] = states[0];
  whole.states = states.data();
  const float scale = 1;
  const auto result = update(*adafactor, call_at(0, scale), {&whole, 1});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("state column_variance of parameter \"layers.0.w\" has shape [2, 1]; expected [1, 3]"),
            std::string::npos)
      << result.error().message;
}

}  // namespace
}  // namespace trainhost
