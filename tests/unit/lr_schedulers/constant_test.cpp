#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

TEST(Constant, WarmsUpAndStays) {
  const ScheduleUnderTest schedule("constant", 1000, {{"lr", 3e-4}});
  for (uint64_t step = 0; step < 20; ++step) EXPECT_NEAR(schedule.lr(step), 3e-4 * static_cast<double>(step) / 20, 1e-12) << step;
  for (const uint64_t step : {20, 21, 999, 1000}) EXPECT_EQ(schedule.lr(step), 3e-4) << step;
  EXPECT_EQ(schedule.stage(19), "warmup");
  EXPECT_EQ(schedule.stage(20), "stable");
}

TEST(Constant, NeedsNoWarmup) {
  const ScheduleUnderTest schedule("constant", 1000, {{"lr", 3e-4}, {"warmup", "0 steps"}});
  EXPECT_EQ(schedule.lr(0), 3e-4);
}

}  // namespace
}  // namespace trainhost
