// WSD-S of A32.
#include <cmath>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01;

// 1000 steps; warm-up over the first 20.
ScheduleUnderTest wsd_s(const std::string &budgets, Settings settings = {}) {
  settings.insert({{"peak_lr", kPeak}, {"budgets", budgets}, {"warmup", "20 steps"}});
  return {"wsd_s", 1000, settings};
}

TEST(WsdS, FollowsTheClosedFormInEachBudget) {
  const auto schedule = wsd_s("25%, 500 steps, 1M tokens", {{"decay_share", 0.2}, {"floor", 0.1}});
  ASSERT_TRUE(schedule.created()) << schedule.error();
  for (uint64_t step = 0; step < 1000; ++step) {
    const auto s = static_cast<double>(step), end = step < 250 ? 250.0 : step < 500 ? 500.0 : 1000.0;
    const double x = (s - 0.8 * end) / (0.2 * end);
    const double expected = step < 20 ? s / 20 : x < 0 ? 1 : 0.1 + 0.9 * (1 - std::sqrt(x));
    EXPECT_NEAR(schedule.lr(step), kPeak * expected, 1e-12) << step;
  }
}

// What the weights at a budget's end are compared with: the decay is that of a WSD run which is just as long.
TEST(WsdS, EndsEachBudgetAsWsdDoes) {
  for (const std::string shape : {"one_minus_sqrt", "linear", "cosine", "half_life", "lowered_linear"}) {
    const auto schedule = wsd_s("200 steps, 500 steps, 1000 steps", {{"shape", shape}, {"half_life", "10 steps"}});
    for (const auto &[first, end] : {std::pair<uint64_t, uint64_t>{0, 200}, {200, 500}, {500, 1000}}) {
      const ScheduleUnderTest wsd(
          "wsd", end, {{"peak_lr", kPeak}, {"warmup", "20 steps"}, {"decay", "10%"}, {"shape", shape}, {"half_life", "10 steps"}});
      for (uint64_t step = first; step < end; ++step) {
        EXPECT_NEAR(schedule.lr(step), wsd.lr(step), 1e-15) << shape << " " << step;
        EXPECT_EQ(schedule.stage(step), wsd.stage(step)) << shape << " " << step;
      }
    }
  }
}

TEST(WsdS, GoesOnAtThePeakAfterEachBudgetAndEndsAtTheFloor) {
  const auto schedule = wsd_s("25%, 50%, 100%", {{"shape", "linear"}});
  for (const uint64_t end : {250, 500}) {
    EXPECT_NEAR(schedule.lr(end - 1), kPeak / (0.1 * static_cast<double>(end)), 1e-12);
    EXPECT_EQ(schedule.lr(end), kPeak);
    EXPECT_EQ(schedule.stage(end), "stable");
  }
  EXPECT_EQ(schedule.lr(1000), 0);
}

// Between its jumps up at the budgets it moves no faster than its warm-up and its steepest decay.
TEST(WsdS, JumpsOnlyWhereABudgetEnds) {
  const auto schedule = wsd_s("25%, 50%, 100%", {{"shape", "linear"}});
  for (uint64_t step = 1; step < 1000; ++step) {
    const double change = std::abs(schedule.lr(step) - schedule.lr(step - 1));
    if (step == 250 || step == 500)
      EXPECT_GT(change, 0.9 * kPeak) << step;
    else
      EXPECT_LE(change, kPeak / 20 + 1e-15) << step;
  }
}

TEST(WsdS, SaysWhatIsWrongWithItsBudgets) {
  const auto error = [](const std::string &budgets, Settings settings = {}) {
    const auto schedule = wsd_s(budgets, std::move(settings));
    return schedule.created() ? "none" : schedule.error().substr(schedule.error().find("create: "));
  };
  EXPECT_EQ(error("50%"), "create: budgets = \"50%\" end at 500000 tokens; expected the last one to be the run's end, 1000000 tokens");
  EXPECT_EQ(error("50%, 150%"),
            "create: budgets = \"50%, 150%\" end at 1500000 tokens; expected the last one to be the run's end, 1000000 tokens");
  EXPECT_EQ(error("50%, 40%, 100%"), "create: budgets = \"50%, 40%, 100%\" are not in their order");
  EXPECT_EQ(
      error("90%, 100%", {{"decay_share", 0.2}}),
      "create: budgets = \"90%, 100%\": the one of 100% has 100000 tokens after the one before; expected at least the 200000 tokens of its "
      "decay");
  EXPECT_EQ(error("2%, 100%"),
            "create: budgets = \"2%, 100%\": the one of 2% has 0 tokens after the warm-up; expected at least the 2000 tokens of its decay");
  EXPECT_EQ(error("half, 100%"), "create: budgets = \"half, 100%\": \"half\" is no amount such as \"500 steps\", \"2M tokens\" or \"10%\"");
  EXPECT_EQ(error("100%,"), "create: budgets = \"100%,\": \"\" is no amount such as \"500 steps\", \"2M tokens\" or \"10%\"");
  EXPECT_EQ(error("90%, 100%"), "none");  // it fits exactly
}

}  // namespace
}  // namespace trainhost
