#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01;

// 1000 steps; warm-up over the first 20.
ScheduleUnderTest linear(Settings settings = {}) {
  settings.insert({"peak_lr", kPeak});
  return {"linear", 1000, settings};
}

TEST(Linear, FallsFromTheWarmupsEndToTheFloorAtTheRunsEnd) {
  for (const double floor : {0.0, 0.1}) {
    const auto schedule = linear({{"floor", floor}});
    for (int step = 0; step < 20; ++step) EXPECT_NEAR(schedule.lr(static_cast<uint64_t>(step)), kPeak * step / 20, 1e-12) << step;
    for (int step = 20; step <= 1000; ++step) {
      const double expected = kPeak * floor + kPeak * (1 - floor) * (1000 - step) / 980;
      EXPECT_NEAR(schedule.lr(static_cast<uint64_t>(step)), expected, 1e-12) << step;
    }
  }
}

TEST(Linear, WithoutAWarmupBeginsAtThePeak) { EXPECT_EQ(linear({{"warmup", "0%"}}).lr(0), kPeak); }

TEST(Linear, NamesTheStages) {
  EXPECT_EQ(linear().stage(19), "warmup");
  EXPECT_EQ(linear().stage(20), "decay");
}

TEST(Linear, RefusesAWarmupThatLeavesNothing) {
  const auto schedule = linear({{"warmup", "100%"}});
  EXPECT_EQ(schedule.error_kind(), ErrorKind::kRecipe);
  EXPECT_NE(schedule.error().find("warmup is 1000000 tokens; expected less than the run's 1000000 tokens"), std::string::npos);
}

}  // namespace
}  // namespace trainhost
