// A22, A23: knees planted in loss curves.
#include "telemetry/phase_detector.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

struct Piece {
  double end;       // tokens
  double exponent;  // of the power law up to there
};

// A loss that follows one power law after the other, at the end of each of so many steps, with relative noise.
std::vector<LossPoint> curve(const std::vector<Piece> &pieces, size_t steps, double noise) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  const double step_tokens = pieces.back().end / static_cast<double>(steps);
  std::vector<LossPoint> points;
  for (size_t step = 1; step <= steps; ++step) {
    const double tokens = step_tokens * static_cast<double>(step);
    double log_loss = std::log(10.0), from = step_tokens;
    for (const Piece &piece : pieces) {
      const double to = std::min(tokens, piece.end);
      if (to > from) log_loss += piece.exponent * std::log(to / from);
      from = std::max(from, to);
    }
    points.push_back({tokens, std::exp(log_loss + noise * normal(random))});
  }
  return points;
}

void expect_knees(const DetectedPhases &found, const std::vector<double> &knees, const std::vector<double> &exponents) {
  ASSERT_EQ(found.knees.size(), knees.size());
  for (size_t i = 0; i < knees.size(); ++i) EXPECT_NEAR(found.knees[i] / knees[i], 1, 0.02) << i;
  ASSERT_EQ(found.exponents.size(), exponents.size());
  for (size_t i = 0; i < exponents.size(); ++i) EXPECT_NEAR(found.exponents[i], exponents[i], 0.02) << i;
}

TEST(PhaseDetector, A23FindsTwoPlantedKneesWithinTwoPercent) {
  for (const double noise : {0.0, 0.002}) {
    for (const double first : {3e7, 7.7e7}) {
      for (const double second : {8e8, 9.03e8})
        expect_knees(detect_phases(curve({{first, -0.3}, {second, -0.05}, {1e9, -0.6}}, 1000, noise)), {first, second},
                     {-0.3, -0.05, -0.6});
    }
  }
}

TEST(PhaseDetector, A23FindsOnePlantedKneeWithinTwoPercent) {
  for (const double noise : {0.0, 0.002}) {
    for (const double at : {5e7, 3.3e8, 9e8})
      expect_knees(detect_phases(curve({{at, -0.25}, {1e9, -0.06}}, 1000, noise)), {at}, {-0.25, -0.06});
  }
}

TEST(PhaseDetector, SeesNoKneeInAPowerLaw) {
  for (const double noise : {0.0, 0.002, 0.02}) expect_knees(detect_phases(curve({{1e9, -0.1}}, 1000, noise)), {}, {-0.1});
}

TEST(PhaseDetector, ThinsLongRuns) {
  expect_knees(detect_phases(curve({{5e7, -0.3}, {9e8, -0.05}, {1e9, -0.6}}, 30'000, 0.01)), {5e7, 9e8}, {-0.3, -0.05, -0.6});
}

TEST(PhaseDetector, LeavesOutStepsWithoutALoss) {
  auto points = curve({{3.3e8, -0.25}, {1e9, -0.06}}, 1000, 0.002);
  using Limits = std::numeric_limits<double>;
  for (size_t i = 0; i < points.size(); i += 50) points[i].loss = i % 100 == 0 ? Limits::quiet_NaN() : Limits::infinity();
  expect_knees(detect_phases(points), {3.3e8}, {-0.25, -0.06});
}

TEST(PhaseDetector, NeedsPointsEnough) {
  EXPECT_TRUE(detect_phases({}).exponents.empty());
  EXPECT_TRUE(detect_phases(curve({{5e8, -0.3}, {1e9, 0.3}}, 9, 0)).knees.empty());
}

}  // namespace
}  // namespace trainhost
