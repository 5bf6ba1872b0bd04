// A28, A32, A33: from one step to the next no learning rate moves further than its formula's steepest slope, but where it is said to leap.
#include <cmath>
#include <numbers>
#include <set>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPi = std::numbers::pi, kWarmup = 1.0 / 20;  // the warm-up's slope: 20 of 1000 steps

struct Case {
  std::string plugin;
  Settings settings;
  double slope;  // the steepest, in shares of the peak a step
  std::set<uint64_t> leaps;
};

const std::vector<Case> kCases = {
    {"constant", {}, kWarmup, {}},
    {"linear", {}, kWarmup, {}},
    {"inverse_sqrt", {}, kWarmup, {}},
    {"power", {{"coefficient", 1000.0}, {"shape", "linear"}}, kWarmup, {}},
    {"step", {}, kWarmup, {800, 900}},
    {"cosine", {}, kWarmup, {}},
    {"cosine", {{"warmup", "10%"}, {"count_from", "warmup"}}, 1.0 / 100, {}},
    {"cosine", {{"warmup", "5%"}, {"period", "100 steps"}, {"loop", true}}, 1.0 / 50, {50}},
    {"sgdr", {{"period", "140 steps"}}, kWarmup, {160, 440}},
    {"wsd", {{"shape", "linear"}}, kWarmup, {}},
    {"wsd", {{"warmup", "20%"}, {"decay", "20%"}, {"shape", "cosine"}}, kPi / 2 / 200, {}},
    {"wsd", {{"shape", "half_life"}, {"half_life", "10 steps"}}, std::numbers::ln2 / 10, {}},
    {"wsd", {}, std::sqrt(0.01), {}},  // 1 - sqrt(x) is steepest in its first step
    {"wsd", {{"shape", "lowered_linear"}}, kWarmup, {900}},
    {"wsd_s", {{"shape", "linear"}}, kWarmup, {500}},
    {"wcsd", {{"waves", int64_t{3}}, {"period", "100 steps"}, {"last_wave", "whole"}, {"shape", "linear"}}, kWarmup, {}},
    {"wcsd", {{"waves", int64_t{3}}, {"period", "100 steps"}, {"amplitude", 0.8}, {"shape", "linear"}}, kWarmup, {120, 220}},
    {"wcsd", {{"rise", "0%"}, {"shape", "linear"}}, kWarmup, {170}},
    {"expression", {}, kWarmup, {}},
};

TEST(Schedules, LeapOnlyWhereTheySaySo) {
  for (const Case &each : kCases) {
    Settings settings = each.settings;
    settings.insert({each.plugin == "constant" ? "lr" : "peak_lr", 1.0});
    const ScheduleUnderTest schedule(each.plugin, 1000, settings);
    ASSERT_TRUE(schedule.created()) << schedule.error();
    std::set<uint64_t> leaps;
    for (uint64_t step = 1; step < 1000; ++step) {
      if (std::abs(schedule.lr(step) - schedule.lr(step - 1)) > each.slope * (1 + 1e-9)) leaps.insert(step);
    }
    EXPECT_EQ(leaps, each.leaps) << each.plugin;
  }
}

}  // namespace
}  // namespace trainhost
