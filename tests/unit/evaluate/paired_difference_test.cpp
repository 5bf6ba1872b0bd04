#include "evaluate/paired_difference.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace trainhost {
namespace {

// With windows of one length it is the standard error of a mean: of the differences 1, 2, 3, 6 per 10 tokens.
TEST(PairedDifference, IsThatOfAMeanWhereWindowsAreEquallyLong) {
  const std::vector<double> before{100, 50, 70, 20}, after{101, 52, 73, 26}, tokens(4, 10);
  const PairedDifference found = paired_difference(before, after, tokens);
  EXPECT_NEAR(found.mean, 0.3, 1e-15);
  EXPECT_NEAR(found.sigma, std::sqrt((4 + 1 + 0 + 9) / 3.0) / 2 / 10, 1e-15);
}

TEST(PairedDifference, IsZeroWhereAllMovedAlike) {
  const PairedDifference found = paired_difference({{10, 40, 5}}, {{11, 44, 5.5}}, {{10, 40, 5}});
  EXPECT_NEAR(found.mean, 0.1, 1e-15);
  EXPECT_NEAR(found.sigma, 0, 1e-15);
}

TEST(PairedDifference, IsUnknownOfOneWindow) {
  EXPECT_TRUE(std::isnan(paired_difference({{10, 0}}, {{11, 0}}, {{10, 0}}).sigma)) << "the other has no token that counts";
  EXPECT_TRUE(std::isnan(paired_difference({{0}}, {{0}}, {{0}}).sigma));
}

// Windows of 50 to 150 tokens, drawn again and again: sigma is how much the means then vary.
TEST(PairedDifference, IsHowMuchTheMeanVariesFromDrawToDraw) {
  constexpr uint64_t kDraws = 4000, kWindows = 60;
  double sum = 0, squares = 0, variance = 0;
  for (uint64_t draw = 0; draw < kDraws; ++draw) {
    std::vector<double> before, after, tokens;
    for (uint64_t i = 0; i < kWindows; ++i) {
      const double noise = random_uniform(draw, 1, 3 * i) - 0.5, hard = random_uniform(draw, 1, 3 * i + 1);
      tokens.push_back(std::floor(50 + 100 * random_uniform(draw, 1, 3 * i + 2)));
      before.push_back(tokens.back() * (1 + 5 * hard));
      after.push_back(before.back() + tokens.back() * (0.02 + noise));
    }
    const PairedDifference found = paired_difference(before, after, tokens);
    sum += found.mean;
    squares += found.mean * found.mean;
    variance += found.sigma * found.sigma;
  }
  const double mean = sum / kDraws, empirical = squares / kDraws - mean * mean;
  EXPECT_NEAR(mean, 0.02, 4 * std::sqrt(empirical / kDraws));
  EXPECT_NEAR(std::sqrt(variance / kDraws / empirical), 1, 0.05);
}

}  // namespace
}  // namespace trainhost
