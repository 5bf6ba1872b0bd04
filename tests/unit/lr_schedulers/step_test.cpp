#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01;

ScheduleUnderTest steps(Settings settings = {}) {
  settings.insert({"peak_lr", kPeak});
  return {"step", 1000, settings};
}

TEST(Step, IsDeepSeeksByDefault) {
  const auto schedule = steps();
  EXPECT_NEAR(schedule.lr(10), kPeak / 2, 1e-12);
  for (const uint64_t step : {20, 500, 799}) EXPECT_EQ(schedule.lr(step), kPeak) << step;
  for (const uint64_t step : {800, 899}) EXPECT_NEAR(schedule.lr(step), 0.316 * kPeak, 1e-12) << step;
  for (const uint64_t step : {900, 1000}) EXPECT_NEAR(schedule.lr(step), 0.1 * kPeak, 1e-12) << step;
  EXPECT_EQ(schedule.stage(799), "stable");
  EXPECT_EQ(schedule.stage(800), "decay");
}

TEST(Step, TakesAmountsOfAnyUnit) {
  const auto schedule = steps({{"steps", " 100 steps:0.5 ,200k tokens : 0.25,50%:2"}});
  EXPECT_EQ(schedule.lr(99), kPeak);
  EXPECT_EQ(schedule.lr(100), kPeak / 2);
  EXPECT_EQ(schedule.lr(200), kPeak / 4);
  EXPECT_EQ(schedule.lr(500), kPeak * 2);
}

TEST(Step, SaysWhatIsWrongWithItsSteps) {
  const auto error = [](const std::string &text) {
    const auto schedule = steps({{"steps", text}});
    return schedule.created() ? "none" : schedule.error().substr(schedule.error().find("create: "));
  };
  EXPECT_EQ(error("80%"), "create: steps: found \"80%\", expected \"place: share\", as \"80%: 0.316\"");
  EXPECT_EQ(error(""), "create: steps: found \"\", expected \"place: share\", as \"80%: 0.316\"");
  EXPECT_EQ(error("80%: 0.3,"), "create: steps: found \"\", expected \"place: share\", as \"80%: 0.316\"");
  EXPECT_EQ(error("soon: 0.3"), "create: steps: in \"soon: 0.3\": \"soon\" is no amount such as \"500 steps\", \"2M tokens\" or \"10%\"");
  EXPECT_EQ(error("80%: -1"), "create: steps: in \"80%: -1\": found \"-1\", expected a share of the peak, as 0.316");
  EXPECT_EQ(error("80%: 0.3x"), "create: steps: in \"80%: 0.3x\": found \"0.3x\", expected a share of the peak, as 0.316");
  EXPECT_EQ(error("80%: 0.3, 80%: 0.1"), "create: steps: \"80%: 0.3, 80%: 0.1\" is not in the order of its places");
  EXPECT_EQ(error("1%: 0.3"), "create: steps: the first comes at 10000 tokens; expected it after the warm-up of 20000 tokens");
}

}  // namespace
}  // namespace trainhost
