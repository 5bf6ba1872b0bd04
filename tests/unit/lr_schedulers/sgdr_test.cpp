#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01;

// 1000 steps; warm-up over the first 20.
ScheduleUnderTest sgdr(Settings settings) {
  settings.insert({"peak_lr", kPeak});
  return {"sgdr", 1000, settings};
}

// eta_min + (eta_max - eta_min) (1 + cos(pi T_cur / T_i)) / 2, the cycles counted one by one as PyTorch's CosineAnnealingWarmRestarts does.
double expected(uint64_t step, double period, double growth, double amplitude, double floor) {
  double done = static_cast<double>(step - 20), high = kPeak;
  while (done >= period) {
    done -= period;
    period *= growth;
    high *= amplitude;
  }
  return floor * high + (high - floor * high) * (1 + std::cos(std::numbers::pi * done / period)) / 2;
}

TEST(Sgdr, FollowsTheClosedFormOfEveryCycle) {
  for (const double growth : {1.0, 2.0, 3.0}) {
    for (const double amplitude : {1.0, 0.5}) {
      const auto schedule = sgdr({{"period", "70 steps"}, {"period_growth", growth}, {"amplitude", amplitude}, {"floor", 0.1}});
      for (uint64_t step = 20; step <= 1000; ++step)
        EXPECT_NEAR(schedule.lr(step), expected(step, 70, growth, amplitude, 0.1), 1e-12) << step << " growth " << growth;
    }
  }
}

TEST(Sgdr, StartsAgainAtThePeakExactlyAtTheCyclesBorders) {
  const auto schedule = sgdr({{"period", "10 steps"}, {"period_growth", 2.0}});
  for (const uint64_t border : {20, 30, 50, 90, 170, 330, 650}) {
    EXPECT_EQ(schedule.lr(border), kPeak) << border;
    if (border > 20) EXPECT_LT(schedule.lr(border - 1), 0.03 * kPeak) << border;
  }
}

TEST(Sgdr, NamesTheStages) {
  const auto schedule = sgdr({});
  EXPECT_EQ(schedule.stage(19), "warmup");
  EXPECT_EQ(schedule.stage(20), "decay");
}

}  // namespace
}  // namespace trainhost
