#include "evaluate/welch_test.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

std::optional<WelchTest> test_of(const std::vector<double> &a, const std::vector<double> &b) {
  return welch_test(summarise(a), summarise(b));
}

TEST(SampleSummary, DividesBySizeLessOne) {
  const std::vector<double> values{2, 4, 4, 4, 5, 5, 7, 9};
  const SampleSummary summary = summarise(values);
  EXPECT_EQ(summary.count, 8u);
  EXPECT_DOUBLE_EQ(summary.mean, 5);
  EXPECT_DOUBLE_EQ(summary.deviation, std::sqrt(32.0 / 7));
  EXPECT_EQ(summarise(std::vector{3.5}).deviation, 0);
}

// Student's data on sleep (Biometrika 6, 1908) as t.test(extra ~ group, data = sleep) of R reports it: t = -1.8608, df = 17.776,
// p-value = 0.07939, with the groups the other way round.
TEST(Welch, GivesWhatRGives) {
  const auto test = test_of({0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}, {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4});
  ASSERT_TRUE(test);
  EXPECT_NEAR(test->t, 1.8608, 5e-5);
  EXPECT_NEAR(test->degrees, 17.776, 5e-4);
  EXPECT_NEAR(test->p, 0.07939, 5e-6);
}

// One sample without spread leaves one degree of freedom to two values: Cauchy's distribution.
TEST(Welch, FollowsCauchyWithOneDegree) {
  const auto test = test_of({1, 1}, {2, 6});
  ASSERT_TRUE(test);
  EXPECT_NEAR(test->t, 1.5, 1e-14);
  EXPECT_NEAR(test->degrees, 1, 1e-14);
  EXPECT_NEAR(test->p, 1 - 2 / std::numbers::pi * std::atan(1.5), 1e-14);
}

// Two pairs of equal spread: two degrees, p = 1 - |t| / sqrt(2 + t^2).
TEST(Welch, FollowsTheClosedFormOfTwoDegrees) {
  const auto test = test_of({3, 5}, {0, 2});
  ASSERT_TRUE(test);
  EXPECT_NEAR(test->t, -3 / std::sqrt(2), 1e-14);
  EXPECT_NEAR(test->degrees, 2, 1e-14);
  EXPECT_NEAR(test->p, 1 - std::abs(test->t) / std::sqrt(2 + test->t * test->t), 1e-14);
}

// Two samples of three of equal spread: four degrees, p = 1 - s (3 - s^2) / 2 with s = |t| / sqrt(4 + t^2).
TEST(Welch, FollowsTheClosedFormOfFourDegrees) {
  const auto test = test_of({1, 2, 3}, {3, 4, 5});
  ASSERT_TRUE(test);
  const double s = test->t / std::sqrt(4 + test->t * test->t);
  EXPECT_NEAR(test->degrees, 4, 1e-14);
  EXPECT_NEAR(test->p, 1 - s * (3 - s * s) / 2, 1e-14);
}

TEST(Welch, SaysNothingWhereNothingCanBeSaid) {
  EXPECT_FALSE(test_of({1}, {2, 3}));
  EXPECT_FALSE(test_of({1, 2}, {}));
  EXPECT_FALSE(test_of({1, 1}, {2, 2}));
  EXPECT_FALSE(test_of({1, 2}, {3, std::numeric_limits<double>::quiet_NaN()}));
  EXPECT_FALSE(test_of({1, 2}, {3, std::numeric_limits<double>::infinity()}));
}

}  // namespace
}  // namespace trainhost
