#include <cmath>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01, kCoefficient = 2, kPower = -0.51;

// 1000 steps of 1000 tokens; warm-up over 20, decay over the last 100.
ScheduleUnderTest power(Settings settings = {}, uint64_t steps = 1000) {
  settings.insert({{"peak_lr", kPeak}, {"coefficient", kCoefficient}, {"shape", "linear"}});
  return {"power", steps, settings};
}

// min(peak, coefficient T^power), T tokens.
double stable(uint64_t step) { return std::min(kPeak, kCoefficient * std::pow(1000 * static_cast<double>(step), kPower)); }

TEST(Power, HoldsThePeakUntilThePowerFallsBelowIt) {
  const auto schedule = power();
  for (uint64_t step = 0; step < 20; ++step) EXPECT_NEAR(schedule.lr(step), kPeak * static_cast<double>(step) / 20, 1e-12) << step;
  for (uint64_t step = 20; step <= 900; ++step) EXPECT_NEAR(schedule.lr(step), stable(step), 1e-12) << step;
  EXPECT_EQ(schedule.lr(20), kPeak);
  EXPECT_LT(schedule.lr(100), kPeak);
}

TEST(Power, DecaysFromWhereThePowerHasLed) {
  const auto schedule = power();
  for (uint64_t step = 900; step <= 1000; ++step)
    EXPECT_NEAR(schedule.lr(step), stable(900) * static_cast<double>(1000 - step) / 100, 1e-12) << step;
}

TEST(Power, DoesNotAskHowLongTheRunIs) {
  const auto one = power(), longer = power({}, 5000);
  for (uint64_t step = 100; step <= 900; ++step) EXPECT_EQ(one.lr(step), longer.lr(step)) << step;
}

TEST(Power, WithoutAWarmupBeginsAtThePeak) { EXPECT_EQ(power({{"warmup", "0%"}}).lr(0), kPeak); }

TEST(Power, NamesTheStages) {
  EXPECT_EQ(power().stage(0), "warmup");
  EXPECT_EQ(power().stage(899), "stable");
  EXPECT_EQ(power().stage(900), "decay");
}

TEST(Power, RefusesADecayThatDoesNotFit) {
  const auto schedule = power({{"decay", "99%"}});
  EXPECT_EQ(schedule.error_kind(), ErrorKind::kRecipe);
  EXPECT_NE(schedule.error().find("warmup is 20000 tokens and decay 990000 tokens"), std::string::npos) << schedule.error();
}

}  // namespace
}  // namespace trainhost
