// A33: the waves are as many as the recipe says, the learning rate leaps nowhere, and the decay starts at the stable level; Infinite-LR.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01, kPi = std::numbers::pi;

// 1000 steps; warm-up over the first 20, decay over the last 100.
ScheduleUnderTest wcsd(Settings settings) {
  settings.insert({"peak_lr", kPeak});
  return {"wcsd", 1000, settings};
}

double share(double numerator, double denominator) { return numerator / denominator; }

TEST(Wcsd, FollowsTheClosedFormOfEachStage) {
  // Waves of 200 and 300 steps, of which the second falls to its trough in 150; a rise over 50; stable from 420 on.
  const auto schedule = wcsd({{"waves", int64_t{2}},
                              {"period", "200 steps"},
                              {"period_growth", 1.5},
                              {"amplitude", 0.8},
                              {"trough", 0.25},
                              {"rise", "50 steps"},
                              {"stable_level", 0.6},
                              {"shape", "linear"}});
  for (uint64_t step = 0; step <= 1000; ++step) {
    const auto s = static_cast<double>(step);
    const double wave = step < 220 ? 0.25 + 0.75 * (1 + std::cos(2 * kPi * share(s - 20, 200))) / 2
                                   : 0.8 * (0.25 + 0.75 * (1 + std::cos(2 * kPi * share(s - 220, 300))) / 2);
    const double expected = step < 20    ? share(s, 20)
                            : step < 370 ? wave
                            : step < 420 ? 0.2 + 0.4 * share(s - 370, 50)
                            : step < 900 ? 0.6
                                         : 0.6 * share(1000 - s, 100);
    EXPECT_NEAR(schedule.lr(step), kPeak * expected, 1e-12) << step;
  }
}

TEST(Wcsd, HasAsManyWavesAsItIsTold) {
  for (const int64_t waves : {1, 3, 7}) {
    const auto schedule = wcsd({{"waves", waves}, {"period", "100 steps"}, {"last_wave", "whole"}});
    int troughs = 0;
    for (uint64_t step = 21; step < 20 + static_cast<uint64_t>(waves) * 100; ++step)
      troughs += schedule.lr(step) < schedule.lr(step - 1) && schedule.lr(step) <= schedule.lr(step + 1);
    EXPECT_EQ(troughs, waves);
  }
}

TEST(Wcsd, IsContinuousWhereWavesDoNotShrinkAndEntersTheDecayAtTheStableLevel) {
  const auto schedule = wcsd({{"waves", int64_t{3}}, {"period", "100 steps"}, {"period_growth", 1.3}, {"rise", "40 steps"}});
  // The steepest of all slopes: the warm-up's, over 20 steps.
  for (uint64_t step = 1; step < 900; ++step) EXPECT_LE(std::abs(schedule.lr(step) - schedule.lr(step - 1)), kPeak / 20 + 1e-15) << step;
  EXPECT_EQ(schedule.lr(899), kPeak);
  EXPECT_EQ(schedule.lr(900), kPeak);
}

TEST(Wcsd, WithoutWavesIsWsd) {
  const auto schedule = wcsd({{"waves", int64_t{0}}, {"rise", "0%"}});
  const ScheduleUnderTest wsd("wsd", 1000, {{"peak_lr", kPeak}});
  for (uint64_t step = 0; step <= 1000; ++step) EXPECT_EQ(schedule.lr(step), wsd.lr(step)) << step;
}

// arXiv 2503.02844: eta_c + (eta - eta_c) (1 + cos(pi x)) / 2; eta_c; eta_c (eta_min / eta_c)^x.
TEST(Wcsd, WithHalfAWaveAndNoRiseIsInfiniteLr) {
  const auto schedule =
      wcsd({{"period", "600 steps"}, {"trough", 0.3}, {"rise", "0%"}, {"stable_level", 0.3}, {"shape", "exponential"}, {"floor", 0.01}});
  for (uint64_t step = 20; step <= 1000; ++step) {
    const auto s = static_cast<double>(step);
    const double expected = step < 320   ? 0.3 + 0.7 * (1 + std::cos(kPi * share(s - 20, 300))) / 2
                            : step < 900 ? 0.3
                                         : 0.3 * std::pow(0.01, share(s - 900, 100));
    EXPECT_NEAR(schedule.lr(step), kPeak * expected, 1e-12) << step;
  }
}

TEST(Wcsd, NamesTheStages) {
  const auto schedule = wcsd({{"period", "200 steps"}, {"rise", "50 steps"}});
  const std::pair<uint64_t, std::string> stages[] = {{0, "warmup"}, {20, "wave"}, {120, "rise"}, {170, "stable"}, {900, "decay"}};
  for (const auto &[step, stage] : stages) EXPECT_EQ(schedule.stage(step), stage) << step;
}

TEST(Wcsd, RefusesWavesThatDoNotFit) {
  const auto schedule = wcsd({{"waves", int64_t{5}}, {"period", "200 steps"}, {"last_wave", "whole"}, {"rise", "0%"}});
  EXPECT_EQ(schedule.error_kind(), ErrorKind::kRecipe);
  EXPECT_NE(
      schedule.error().find("warm-up, waves and rise take 1020000 tokens and the decay 100000 tokens; expected all of them to fit into "
                            "the run's 1000000 tokens"),
      std::string::npos)
      << schedule.error();
}

TEST(Wcsd, GivesTheSameBitsInAnyOrder) {
  const auto one = wcsd({{"waves", int64_t{4}}, {"period", "10%"}}), other = wcsd({{"waves", int64_t{4}}, {"period", "10%"}});
  for (uint64_t step = 0; step < 1000; ++step) EXPECT_EQ(one.lr(step), other.lr(step));
  for (uint64_t step = 1000; step-- > 0;) EXPECT_EQ(one.lr(step), other.lr(step));
}

}  // namespace
}  // namespace trainhost
