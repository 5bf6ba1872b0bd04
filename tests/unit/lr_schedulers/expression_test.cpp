#include <cmath>
#include <numbers>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01, kPi = std::numbers::pi;

// 1000 steps without warm-up.
ScheduleUnderTest expression(const std::string &formula, Settings settings = {}) {
  settings.insert({{"lr", formula}, {"peak_lr", kPeak}, {"warmup", "0%"}});
  return {"expression", 1000, settings};
}

TEST(Expression, IsTheLearningRateItself) {
  EXPECT_EQ(expression("0.0025").lr(500), 0.0025);
  EXPECT_EQ(expression("peak_lr").lr(500), kPeak);
}

TEST(Expression, FollowsTheClosedFormOfItsFormula) {
  const auto cosine = expression("peak_lr * (0.1 + 0.45 * (1 + cos(pi * progress)))");
  const auto inverse_sqrt = expression("peak_lr * min((step + 1) / 100, sqrt(100 / (step + 1)))");
  const auto wsd = expression("progress < 0.9 ? peak_lr : peak_lr * (1 - sqrt((progress - 0.9) / 0.1))");
  for (uint64_t step = 0; step < 1000; ++step) {
    const auto s = static_cast<double>(step);
    EXPECT_NEAR(cosine.lr(step), kPeak * (0.1 + 0.45 * (1 + std::cos(kPi * s / 1000))), 1e-12) << step;
    EXPECT_NEAR(inverse_sqrt.lr(step), kPeak * std::fmin((s + 1) / 100, std::sqrt(100 / (s + 1))), 1e-12) << step;
    EXPECT_NEAR(wsd.lr(step), step < 900 ? kPeak : kPeak * (1 - std::sqrt((s - 900) / 100)), 1e-12) << step;
  }
}

TEST(Expression, KnowsWhereTheRunIs) {
  const std::pair<std::string, double> values[] = {
      {"step", 250},      {"total_steps", 1000}, {"tokens", 250'000},      {"total_tokens", 1'000'000},
      {"progress", 0.25}, {"phase", 0},          {"phase_progress", 0.25}, {"pi", kPi}};
  for (const auto &[name, value] : values) EXPECT_EQ(expression(name).lr(250), value) << name;
  EXPECT_EQ(expression("warmup", {{"warmup", "3%"}}).lr(250), 30'000);
}

TEST(Expression, IsMultipliedWithTheWarmup) {
  const auto schedule = expression("peak_lr * (1 - progress)", {{"warmup", "20 steps"}, {"warmup_start", 0.01}});
  for (uint64_t step = 0; step < 40; ++step) {
    const double u = static_cast<double>(step) / 20, share = step < 20 ? u + (1 - u) / 100 : 1;
    EXPECT_NEAR(schedule.lr(step), kPeak * share * (1 - static_cast<double>(step) / 1000), 1e-12) << step;
  }
  EXPECT_EQ(schedule.stage(19), "warmup");
  EXPECT_EQ(schedule.stage(20), "formula");
}

TEST(Expression, GivesTheSameBitsInAnyOrderAndOnAnyThread) {
  const auto schedule = expression("peak_lr * exp(-3 * progress) * (1 + 0.1 * sin(step))", {{"warmup", "5%"}});
  std::vector<double> forwards;
  for (uint64_t step = 0; step < 500; ++step) forwards.push_back(schedule.lr(step));
  std::vector<std::vector<double>> found(4, std::vector<double>(500));
  std::vector<std::thread> threads;
  for (auto &values : found) {
    threads.emplace_back([&] {
      for (uint64_t step = 500; step-- > 0;) values[step] = schedule.lr(step);
    });
  }
  for (std::thread &thread : threads) thread.join();
  for (const auto &values : found) EXPECT_EQ(values, forwards);
}

struct Refusal {
  std::string formula, reason;
};

TEST(Expression, RefusesWhatIsNoFormulaWithThePlaceAndWhatIsKnown) {
  const std::string known =
      "; expected a formula of numbers, step, total_steps, tokens, total_tokens, progress, phase, phase_progress, warmup, peak_lr, pi, "
      "operators and functions (trainhost plugins expression lists them)";
  const Refusal refusals[] = {{"peak_lr * (1 - progres)", "has something unexpected at character 16, \"progres\""},
                              {"rnd(1)", "has something unexpected at character 1, \"rnd\""},
                              {"peak_lr * (1 - ", "ends too early at character 17"},
                              {"peak_lr)", "has something unexpected at character 8, \")\""},
                              {"(peak_lr", "lacks a parenthesis at character 10"},
                              {"sqrt(1, 2)", "has too many arguments for a function at character 10, \")\""},
                              {"max()", "has too few arguments for a function at character 6"},
                              {"progress > 0.5 ? 1", "has a ? without its :"},
                              {"_pi", "has something unexpected at character 1, \"_pi\""},
                              {"é", "has something unexpected at character 1, \"é\""},
                              {"", "is empty"},
                              {std::string(25'000, '1'), "is too long"}};
  for (const auto &[formula, reason] : refusals) {
    const auto schedule = expression(formula);
    ASSERT_FALSE(schedule.created()) << formula;
    EXPECT_EQ(schedule.error_kind(), ErrorKind::kRecipe);
    EXPECT_NE(schedule.error().find("create: lr = \"" + formula + "\" " + reason), std::string::npos) << schedule.error();
    EXPECT_TRUE(schedule.error().ends_with(known)) << schedule.error();
  }
}

// Nothing that a formula says stays, and nothing is done beside computing.
TEST(Expression, RefusesAssignmentsListsAndStrings) {
  for (const std::string formula : {"step = 4", "peak_lr = 1, peak_lr", "\"/etc/passwd\"", "1; 2"}) {
    EXPECT_FALSE(expression(formula).created()) << formula;
  }
  EXPECT_NE(expression("1, 2").error().find("lr = \"1, 2\" has 2 values; expected one"), std::string::npos);
}

TEST(Expression, RefusesNegativeAndInfiniteRatesWithTheirPlace) {
  EXPECT_NE(expression("peak_lr / tokens")
                .error()
                .find("lr = \"peak_lr / tokens\" gives inf at step 0, after 0 of 1000000 tokens; expected a "
                      "finite number of at least 0"),
            std::string::npos);
  EXPECT_NE(expression("0.5 - progress").error().find("gives -0.009 at step 509, after 509000 of 1000000 tokens; expected a finite"),
            std::string::npos);
  EXPECT_NE(expression("990 - step").error().find("gives -9 at step 999, "), std::string::npos);
  EXPECT_TRUE(expression("999 - step").created());
  // What depends on phases, or on one step, is found at the step.
  const auto narrow = expression("step == 501 ? -0.001 : phase_progress");
  ASSERT_TRUE(narrow.created()) << narrow.error();
  EXPECT_EQ(narrow.lr(500), 0.5);
  EXPECT_TRUE(
      narrow.failure(501).ends_with("gives -0.001 at step 501, after 501000 of 1000000 tokens; expected a finite number of at least 0"))
      << narrow.failure(501);
}

}  // namespace
}  // namespace trainhost
