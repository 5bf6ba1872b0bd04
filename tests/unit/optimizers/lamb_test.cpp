// A27.
#include <gtest/gtest.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

constexpr size_t kCount = 50'003;  // several blocks, and a rest

double norm(const std::vector<float> &values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

std::vector<float> scaled(std::vector<float> values, double factor) {
  for (float &value : values) value = static_cast<float>(value * factor);
  return values;
}

void run(Optimizer &optimizer, UpdatedParameter &parameter, uint64_t steps, float scale) {
  for (uint64_t step = 0; step < steps; ++step) {
    const th_update whole = parameter.whole();
    ASSERT_TRUE(update(optimizer, call_at(step, scale), {&whole, 1}));
  }
}

// The difference of two float32 is exact enough where the step is not far smaller than the parameter.
TEST(Lamb, TakesStepsAsLongAsTheParameterTimesTheLearningRate) {
  const auto lamb = optimizer_under_test("lamb");
  for (const double length : {1e-3, 1.0, 9.0, 500.0}) {
    const std::vector<float> start = scaled(numbers(kCount, 1), length / norm(numbers(kCount, 1)));
    UpdatedParameter parameter(*lamb, start);
    parameter.gradient = numbers(kCount, 2);
    parameter.learning_rate = 0.5;
    run(*lamb, parameter, 1, 1);
    std::vector<float> step(kCount);
    for (size_t i = 0; i < kCount; ++i) step[i] = parameter.master[i] - start[i];
    EXPECT_NEAR(norm(step) / (0.5 * std::min(length, 10.0)), 1, 1e-5) << length;
  }
}

// As long as the root of the second moment is far larger than epsilon.
TEST(Lamb, DoesNotSeeTheScaleOfGradients) {
  const auto lamb = optimizer_under_test("lamb", {{"epsilon", 1e-12}, {"weight_decay", 0.0}});
  UpdatedParameter plain(*lamb, numbers(kCount, 1)), large(*lamb, numbers(kCount, 1));
  plain.gradient = large.gradient = numbers(kCount, 2);
  run(*lamb, plain, 3, 1.0f);
  run(*lamb, large, 3, 1e3f);
  for (size_t i = 0; i < kCount; ++i) ASSERT_NEAR(large.master[i], plain.master[i], 1e-6) << i;
}

// With trust_ratio = false, in double: m / (sqrt(v) + epsilon), neither of them corrected.
TEST(Lamb, WithoutItsRatioIsAdamWithoutBiasCorrection) {
  const auto lamb = optimizer_under_test("lamb", {{"trust_ratio", false}});
  UpdatedParameter parameter(*lamb, numbers(100, 1));
  std::vector<double> expected(parameter.master.begin(), parameter.master.end()), m(100), v(100);
  const float scale = 1;
  for (uint32_t step = 0; step < 20; ++step) {
    parameter.gradient = numbers(100, 50 + step);
    const th_update whole = parameter.whole();
    ASSERT_TRUE(update(*lamb, call_at(step, scale), {&whole, 1}));
    for (size_t i = 0; i < 100; ++i) {
      const double g = parameter.gradient[i];
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      expected[i] -= 0.01 * (m[i] / (std::sqrt(v[i]) + 1e-6) + 0.1 * expected[i]);
      ASSERT_NEAR(parameter.master[i], expected[i], 1e-6) << "step " << step;
    }
  }
}

TEST(Lamb, TakesTheRatioOneWhereANormIsZero) {
  const auto lamb = optimizer_under_test("lamb", {{"weight_decay", 0.0}});
  UpdatedParameter zero(*lamb, {0, 0}), still(*lamb, {3, 4});
  zero.gradient = {1, -1};
  zero.learning_rate = still.learning_rate = 0.5;
  run(*lamb, zero, 1, 1);
  const float step = static_cast<float>(0.5 * 0.1 / (std::sqrt(0.001) + 1e-6));  // of m / sqrt(v)
  EXPECT_NEAR(zero.master[0], -step, 1e-6);
  run(*lamb, still, 1, 1);
  EXPECT_EQ(still.master, (std::vector<float>{3, 4}));
}

TEST(Lamb, RefusesAPieceOfAParameter) {
  const auto lamb = optimizer_under_test("lamb");
  EXPECT_EQ(lamb->granularity(), TH_GRANULARITY_TENSOR);
  UpdatedParameter parameter(*lamb, {1, 2, 3});
  const th_update piece = parameter.piece(0, 2);
  const float scale = 1;
  const auto result = update(*lamb, call_at(0, scale), {&piece, 1});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("has shape [2]; expected the whole parameter"), std::string::npos) << result.error().message;
}

}  // namespace
}  // namespace trainhost
