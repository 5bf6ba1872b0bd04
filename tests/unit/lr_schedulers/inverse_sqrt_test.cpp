#include <cmath>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

// d^-1/2 min(s^-1/2, s W^-3/2), as the paper prints it, for the d whose peak at s = W is this one.
TEST(InverseSqrt, IsTheTransformersFormula) {
  constexpr double kPeak = 0.01, kWarmup = 20;
  const ScheduleUnderTest schedule("inverse_sqrt", 1000, {{"peak_lr", kPeak}});
  const double d = 1 / (kPeak * kPeak * kWarmup);
  EXPECT_EQ(schedule.lr(0), 0);
  for (uint64_t step = 1; step <= 1000; ++step) {
    const auto s = static_cast<double>(step);
    EXPECT_NEAR(schedule.lr(step), std::pow(d, -0.5) * std::min(std::pow(s, -0.5), s * std::pow(kWarmup, -1.5)), 1e-12) << step;
  }
  EXPECT_NEAR(schedule.lr(20), kPeak, 1e-15);
  EXPECT_EQ(schedule.stage(19), "warmup");
  EXPECT_EQ(schedule.stage(20), "decay");
}

}  // namespace
}  // namespace trainhost
