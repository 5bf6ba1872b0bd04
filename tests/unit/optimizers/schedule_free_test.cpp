// A29, A30: the two points of schedule_free.
#include <gtest/gtest.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

constexpr size_t kCount = 5'003;  // several blocks, and a rest
enum State : size_t { kBase, kOtherPoint };

void step(Optimizer &optimizer, UpdatedParameter &parameter, uint64_t number) {
  parameter.gradient = numbers(kCount, static_cast<uint32_t>(50 + number));
  const float scale = 0.5f;
  const th_update whole = parameter.whole();
  ASSERT_TRUE(update(optimizer, call_at(number, scale), {&whole, 1}));
}

void move(Optimizer &optimizer, UpdatedParameter &parameter, ParameterPoint point) {
  th_update whole = parameter.whole();
  whole.gradient.data = nullptr;
  const auto moved = optimizer.move_to(point, {&whole, 1}, nullptr);
  ASSERT_TRUE(moved) << moved.error().message;
}

// In double, from the weights z that the updates leave, each with the square of the largest rate until then.
void expect_average(const std::vector<double> &rates) {
  const auto optimizer = optimizer_under_test("schedule_free");
  UpdatedParameter parameter(*optimizer, numbers(kCount, 1));
  std::vector<double> sum(kCount);
  double weights = 0, largest = 0;
  for (uint64_t number = 0; number < rates.size(); ++number) {
    parameter.learning_rate = rates[number];
    step(*optimizer, parameter, number);
    largest = std::max(largest, rates[number]);
    weights += largest * largest;
    for (size_t i = 0; i < kCount; ++i) sum[i] += largest * largest * parameter.states[kBase][i];
  }
  const std::vector<float> trained = parameter.master;
  move(*optimizer, parameter, ParameterPoint::kEvaluation);
  for (size_t i = 0; i < kCount; ++i) {
    const double average = sum[i] / weights;
    ASSERT_NEAR(parameter.master[i], average, 1e-6) << i;
    ASSERT_NEAR(trained[i], 0.1 * parameter.states[kBase][i] + 0.9 * average, 1e-6) << i;
  }
}

TEST(ScheduleFree, EvaluatesTheMeanOfItsWeights) { expect_average(std::vector<double>(200, 0.01)); }

TEST(ScheduleFree, WeightsThemByTheSquareOfTheLargestLearningRateSoFar) {
  expect_average({0, 0, 1e-3, 2e-3, 4e-3, 8e-3, 8e-3, 2e-3, 0, 9e-3, 3e-3, 1e-3});
}

TEST(ScheduleFree, DoesNotMoveWhileTheLearningRateIsZero) {
  const auto optimizer = optimizer_under_test("schedule_free");
  const std::vector<float> start = numbers(kCount, 1);
  UpdatedParameter parameter(*optimizer, start);
  parameter.learning_rate = 0;
  for (const uint64_t number : {0, 1}) step(*optimizer, parameter, number);
  EXPECT_EQ(parameter.master, start);
  move(*optimizer, parameter, ParameterPoint::kEvaluation);
  EXPECT_EQ(parameter.master, start);
}

TEST(ScheduleFree, ComesBackFromTheEvaluationPointToTheSameBits) {
  const auto optimizer = optimizer_under_test("schedule_free");
  UpdatedParameter parameter(*optimizer, numbers(kCount, 1));
  parameter.with_compute_copy = true;
  for (const uint64_t number : {0, 1, 2}) step(*optimizer, parameter, number);
  const auto master = parameter.master;
  const auto copy = parameter.compute_copy;
  const auto states = parameter.states;
  move(*optimizer, parameter, ParameterPoint::kEvaluation);
  EXPECT_EQ(parameter.master, states[kOtherPoint]);
  EXPECT_NE(parameter.compute_copy, copy);
  move(*optimizer, parameter, ParameterPoint::kTraining);
  EXPECT_EQ(parameter.master, master);
  EXPECT_EQ(parameter.compute_copy, copy);
  EXPECT_EQ(parameter.states, states);
}

TEST(ScheduleFree, IsTheOnlyOneWithAnEvaluationPoint) {
  EXPECT_TRUE(optimizer_under_test("schedule_free")->has_evaluation_point());
  for (const char *other : {"sgd", "adamw", "muon"}) EXPECT_FALSE(optimizer_under_test(other)->has_evaluation_point()) << other;
}

}  // namespace
}  // namespace trainhost
