// A28: SGDR to 1e-12 at all borders, and as many maxima as cycles.
#include <cmath>
#include <numbers>
#include <tuple>

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
    if (border > 20) {
      EXPECT_LT(schedule.lr(border - 1), 0.03 * kPeak) << border;
    }
  }
}

TEST(Sgdr, HasAsManyMaximaAsCycles) {
  // 980 steps after the warm-up: 14 cycles of 70, or 2 + 4 + ... + 256 with 474 of the next one's 512.
  for (const auto &[period, growth, cycles] : {std::tuple{"70 steps", 1.0, 14}, {"2 steps", 2.0, 9}}) {
    const auto schedule = sgdr({{"period", period}, {"period_growth", growth}});
    int maxima = 0;
    for (uint64_t step = 20; step < 1000; ++step)
      maxima += schedule.lr(step) > schedule.lr(step - 1) && schedule.lr(step) > schedule.lr(step + 1);
    EXPECT_EQ(maxima, cycles) << period;
  }
}

TEST(Sgdr, NamesTheStages) {
  const auto schedule = sgdr({});
  EXPECT_EQ(schedule.stage(19), "warmup");
  EXPECT_EQ(schedule.stage(20), "decay");
}

}  // namespace
}  // namespace trainhost
