#include "evaluate/weak_source.h"

#include <cmath>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

TEST(WeakestSource, IsTheOneFurthestAboveItsTarget) {
  const LossPanel targets{{"code", 0.8}, {"essays", 1.0}, {"poems", 2.0}};
  EXPECT_EQ(weakest_source({{"code", 1.1}, {"essays", 1.2}, {"poems", 2.2}}, targets), "code");
  EXPECT_EQ(weakest_source({{"code", 0.9}, {"essays", 1.2}, {"poems", 2.1}}, targets), "essays");
  EXPECT_EQ(weakest_source({{"code", NAN}, {"essays", 1.2}, {"poems", 2.1}}, targets), "code");
}

TEST(WeakestSource, NeedsATargetAndALossAboveIt) {
  EXPECT_EQ(weakest_source({{"code", 5.0}, {"essays", 1.2}}, {{"essays", 1.0}, {"poems", 0.1}}), "essays");
  EXPECT_EQ(weakest_source({{"code", 5.0}, {"essays", 1.0}}, {{"essays", 1.0}}), std::nullopt);
  EXPECT_EQ(weakest_source({{"code", 5.0}}, {}), std::nullopt);
}

TEST(StrengthenedMix, TakesTheShareFromAllAlike) {
  const auto half = strengthened({{"code", 0.1}, {"essays", 0.6}, {"poems", 0.3}}, "code", 0.5);
  EXPECT_NEAR(half.at("code"), 0.55, 1e-15);
  EXPECT_NEAR(half.at("essays"), 0.3, 1e-15);
  EXPECT_NEAR(half.at("poems"), 0.15, 1e-15);
  const auto fresh = strengthened({{"essays", 1.0}}, "code", 0.25);
  EXPECT_NEAR(fresh.at("code"), 0.25, 1e-15);
  EXPECT_NEAR(fresh.at("essays"), 0.75, 1e-15);
}

// Panels of three seeds that scatter by 0.001 about these means.
std::vector<LossPanel> panels(double code, double essays, double poems) {
  std::vector<LossPanel> seeds;
  for (const double scatter : {-0.001, 0.0, 0.001}) seeds.push_back({{"code", code + scatter}, {"essays", essays - scatter}, {"poems", poems}});
  return seeds;
}

TEST(MixVerdict, AcceptsWhatGainsMoreThanItCosts) {
  const MixVerdict verdict = judge_mix("code", panels(1.5, 1.0, 2.0), panels(1.2, 1.1, 2.05));
  EXPECT_NEAR(verdict.gain, 0.3, 1e-12);
  EXPECT_NEAR(verdict.cost, 0.1 + 0.05, 1e-12);
  EXPECT_EQ(verdict.seeds_better, 3u);
  EXPECT_TRUE(verdict.significant);
  EXPECT_TRUE(verdict.accepted());
  ASSERT_EQ(verdict.effects.size(), 3u);
  EXPECT_EQ(verdict.effects[1].source, "essays");
  EXPECT_NEAR(verdict.effects[1].change(), 0.1, 1e-12);
}

TEST(MixVerdict, RefusesWhatCostsMoreThanItGains) {
  const MixVerdict verdict = judge_mix("code", panels(1.5, 1.0, 2.0), panels(1.4, 1.08, 2.05));
  EXPECT_TRUE(verdict.significant);
  EXPECT_EQ(verdict.seeds_better, 3u);
  EXPECT_FALSE(verdict.accepted());
}

TEST(MixVerdict, CountsWhatOthersGain) {
  const MixVerdict verdict = judge_mix("code", panels(1.5, 1.0, 2.0), panels(1.4, 1.15, 1.9));
  EXPECT_NEAR(verdict.cost, 0.15 - 0.1, 1e-12);
  EXPECT_TRUE(verdict.accepted());
}

TEST(MixVerdict, RefusesALossThatRose) {
  const MixVerdict verdict = judge_mix("code", panels(1.5, 1.0, 2.0), panels(1.6, 0.5, 1.5));
  EXPECT_LT(verdict.gain, 0);
  EXPECT_EQ(verdict.seeds_better, 0u);
  EXPECT_TRUE(verdict.significant);
  EXPECT_FALSE(verdict.accepted());
}

TEST(MixVerdict, RefusesWhatMayBeChance) {
  std::vector<LossPanel> present, proposed;
  for (const double loss : {1.3, 1.5, 1.7}) present.push_back({{"code", loss}});
  for (const double loss : {1.2, 1.4, 1.6}) proposed.push_back({{"code", loss}});
  const MixVerdict verdict = judge_mix("code", present, proposed);
  EXPECT_EQ(verdict.seeds_better, 3u);
  EXPECT_FALSE(verdict.significant);
  EXPECT_FALSE(verdict.accepted());
}

TEST(MixVerdict, SaysNothingOfLossesThatAreNotFinite) {
  std::vector<LossPanel> broken = panels(1.2, 1.0, 2.0);
  broken[1]["code"] = NAN;
  EXPECT_FALSE(judge_mix("code", panels(1.5, 1.0, 2.0), broken).accepted());
}

}  // namespace
}  // namespace trainhost
