#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "evaluate/text_generator.h"

namespace trainhost {
namespace {

// Probabilities 0.5, 0.3, 0.2 at temperature 1.
const std::vector<float> kLogits = {std::log(0.3f), std::log(0.5f), std::log(0.2f)};

std::vector<double> shares(double temperature, double top_p) {
  std::vector<double> counts(kLogits.size());
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i)
    counts[choose_id(kLogits, temperature, top_p, random_uniform(1, 2, static_cast<uint64_t>(i)))] += 1.0 / kDraws;
  return counts;
}

TEST(ChooseId, DrawsFromTheSoftmax) {
  const auto drawn = shares(1, 1);
  EXPECT_NEAR(drawn[0], 0.3, 0.008);  // five standard errors
  EXPECT_NEAR(drawn[1], 0.5, 0.008);
  EXPECT_NEAR(drawn[2], 0.2, 0.008);
}

TEST(ChooseId, SharpensWithTheTemperature) {
  const auto drawn = shares(0.5, 1);  // squares: 9, 25, 4 of 38
  EXPECT_NEAR(drawn[1], 25.0 / 38, 0.008);
}

TEST(ChooseId, KeepsTheLikeliestUpToTopP) {
  const auto drawn = shares(1, 0.75);  // the first two: 5 / 8 and 3 / 8
  EXPECT_NEAR(drawn[1], 5.0 / 8, 0.008);
  EXPECT_EQ(drawn[2], 0);
}

TEST(ChooseId, TakesTheLikeliestAtTemperatureZero) { EXPECT_EQ(choose_id(kLogits, 0, 1, 0.999), 1u); }

TEST(ReplaceMalformedUtf8, KeepsTextAndMarksDamage) {
  EXPECT_EQ(replace_malformed_utf8("a\xe6\x88\x91z"), "a\xe6\x88\x91z");
  EXPECT_EQ(replace_malformed_utf8("a\xffz"), "a\xef\xbf\xbdz");
}

}  // namespace
}  // namespace trainhost
