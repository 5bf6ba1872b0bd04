#include "evaluate/rank_correlation.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

// Without ties it is 1 - 6 sum(d^2) / (n (n^2 - 1)), of the differences d of the ranks.
TEST(RankCorrelation, IsSpearmansOfRanks) {
  const std::vector<double> a{10, 20, 30, 40, 50}, b{0.1, 0.3, 0.2, 9, 7};  // ranks 1 3 2 5 4
  EXPECT_NEAR(rank_correlation(a, b), 1 - 6.0 * 4 / (5 * 24), 1e-15);
}

TEST(RankCorrelation, AsksOnlyForTheOrder) {
  const std::vector<double> a{-3, 1, 2, 8}, same{-1e9, 0, 1e-9, 2e9}, reverse{5, 4, -2, -7};
  EXPECT_NEAR(rank_correlation(a, same), 1, 1e-15);
  EXPECT_NEAR(rank_correlation(a, reverse), -1, 1e-15);
}

// Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5 over the root of 4.5 * 5.
TEST(RankCorrelation, SharesRanksAmongEqualValues) {
  EXPECT_NEAR(rank_correlation(std::vector<double>{1, 2, 2, 3}, std::vector<double>{1, 2, 3, 4}), 4.5 / std::sqrt(4.5 * 5), 1e-15);
}

TEST(RankCorrelation, IsUnknownWithoutAnOrder) {
  EXPECT_TRUE(std::isnan(rank_correlation(std::vector<double>{1, 2, 3}, std::vector<double>{4, 4, 4})));
  EXPECT_TRUE(std::isnan(rank_correlation(std::vector<double>{1}, std::vector<double>{2})));
  EXPECT_TRUE(std::isnan(rank_correlation({}, {})));
}

}  // namespace
}  // namespace trainhost
