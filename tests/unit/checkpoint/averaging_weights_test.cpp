#include "checkpoint/averaging_weights.h"

#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainhost {
namespace {

using testing::DoubleNear;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::Pointwise;

constexpr double kTolerance = 1e-15;

TEST(AveragingWeights, OfAMeanAreEqual) {
  EXPECT_THAT(*averaging_weights({.method = "mean"}, 4), ElementsAre(0.25, 0.25, 0.25, 0.25));
  EXPECT_THAT(*averaging_weights({.method = "polyak"}, 4), ElementsAre(0.25, 0.25, 0.25, 0.25));
}

// A32b: a^n on the first, (1 - a) a^(n - j) on the others.
TEST(AveragingWeights, OfAnExponentialAverageFallWithAge) {
  EXPECT_THAT(*averaging_weights({.method = "ema", .alpha = 0.75}, 4),
              ElementsAre(DoubleNear(0.421875, kTolerance), DoubleNear(0.140625, kTolerance), DoubleNear(0.1875, kTolerance), 0.25));
}

// A32b, arXiv 2507.17634: c_j = sqrt((j + 1) / (k + 1)) - sqrt(j / (k + 1)), for k + 1 = 4.
TEST(AveragingWeights, OfOneMinusSqrtAreDifferencesOfRoots) {
  EXPECT_THAT(*averaging_weights({.method = "wsm", .shape = "one_minus_sqrt"}, 4),
              ElementsAre(DoubleNear(0.5, kTolerance), DoubleNear(std::sqrt(0.5) - 0.5, kTolerance),
                          DoubleNear(std::sqrt(0.75) - std::sqrt(0.5), kTolerance), DoubleNear(1 - std::sqrt(0.75), kTolerance)));
}

TEST(AveragingWeights, OfALinearDecayAreThoseOfTheMean) {
  for (size_t count = 2; count < 20; ++count) {
    const auto linear = *averaging_weights({.method = "wsm", .shape = "linear"}, count);
    EXPECT_THAT(linear, Pointwise(DoubleNear(kTolerance), *averaging_weights({}, count)));
  }
}

TEST(AveragingWeights, SumToOneAndAreNeverNegative) {
  for (const AveragingRule &rule :
       {AveragingRule{.method = "mean"}, AveragingRule{.method = "ema", .alpha = 0.9}, AveragingRule{.method = "wsm", .shape = "linear"},
        AveragingRule{.method = "wsm", .shape = "cosine"}, AveragingRule{.method = "wsm", .shape = "mirror_cosine"},
        AveragingRule{.method = "wsm", .shape = "square"}, AveragingRule{.method = "wsm", .shape = "one_minus_sqrt"}}) {
    for (size_t count = 2; count < 20; ++count) {
      const auto weights = *averaging_weights(rule, count);
      ASSERT_EQ(weights.size(), count);
      EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 1, 1e-14) << describe(rule) << " of " << count;
      EXPECT_THAT(weights, Each(Ge(0.0))) << describe(rule) << " of " << count;
    }
  }
}

TEST(AveragingWeights, RefusesWhatIsNoRule) {
  const auto problem = [](const AveragingRule &rule) {
    const auto weights = averaging_weights(rule, 3);
    return weights ? "" : std::to_string(exit_code(weights.error().kind)) + " " + weights.error().message;
  };
  EXPECT_EQ(problem({.method = "median"}), "64 --method is \"median\", expected mean, ema, polyak or wsm");
  EXPECT_EQ(problem({.method = "ema", .alpha = 1}), "64 --alpha is 1, expected more than 0 and less than 1");
  EXPECT_THAT(problem({.method = "ema", .alpha = std::nan("")}), HasSubstr("--alpha is nan"));
  EXPECT_EQ(problem({.method = "wsm", .shape = "sqrt"}),
            "64 --shape is \"sqrt\", expected one of linear, cosine, mirror_cosine, square, one_minus_sqrt");
}

}  // namespace
}  // namespace trainhost
