#include "telemetry/loss_slope.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

TEST(LossSlope, IsThatOfALine) {
  std::vector<LossPoint> points;
  for (int i = 1; i <= 50; ++i) points.push_back({1e6 * i, 4 - 2e-8 * 1e6 * i});
  EXPECT_NEAR(loss_slope(points).per_token / -2e-8, 1, 1e-9);
}

TEST(LossSlope, IsTheExponentOfAPowerLaw) {
  std::vector<LossPoint> points;
  for (int i = 1; i <= 50; ++i) points.push_back({1e6 * i, 30 * std::pow(1e6 * i, -0.12)});
  EXPECT_NEAR(loss_slope(points).exponent, -0.12, 1e-12);
}

// Noise that is symmetric around the middle turns no line.
TEST(LossSlope, TakesAllPointsAlike) {
  EXPECT_NEAR(loss_slope(std::vector<LossPoint>{{1, 5}, {2, 4.5}, {3, 4}, {4, 3}, {5, 3}}).per_token, -0.55, 1e-12);
}

// The line is 1 + x / 2, the residuals -1/2, 1, -1/2: sqrt(1.5 / (3 - 2) / 2).
TEST(LossSlope, KnowsItsStandardError) {
  EXPECT_NEAR(loss_slope(std::vector<LossPoint>{{1, 1}, {2, 3}, {3, 2}}).sigma, std::sqrt(0.75), 1e-12);
  EXPECT_TRUE(std::isnan(loss_slope(std::vector<LossPoint>{{1, 1}, {2, 3}}).sigma)) << "a line through two points has no residuals";
}

TEST(LossSlope, IsUnknownAtOnePlace) {
  EXPECT_TRUE(std::isnan(loss_slope({}).per_token));
  EXPECT_TRUE(std::isnan(loss_slope(std::vector<LossPoint>{{5, 1}, {5, 2}}).exponent));
}

}  // namespace
}  // namespace trainhost
