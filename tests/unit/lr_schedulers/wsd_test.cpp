// A32: WSD with all its decay shapes to 1e-12; the half-life gives half the peak at +5000 steps.
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01;
const std::vector<std::string> kShapes = {"one_minus_sqrt", "linear",          "cosine",      "mirror_cosine", "square",
                                          "power",          "one_minus_power", "exponential", "half_life",     "lowered_linear"};

Settings with(const std::string &shape, Settings more = {}) {
  more.insert({{"peak_lr", kPeak}, {"shape", shape}});
  if (shape == "exponential") more.insert({"floor", 0.01});
  return more;
}

// 1000 steps with the defaults: warm-up over the first 20, decay over the last 100.
ScheduleUnderTest wsd(const std::string &shape, const Settings &more = {}) { return {"wsd", 1000, with(shape, more)}; }

TEST(Wsd, WarmsUpLinearlyFromZeroAndHoldsThePeakUntilTheDecay) {
  const auto schedule = wsd("linear");
  for (uint64_t step = 0; step < 20; ++step) EXPECT_NEAR(schedule.lr(step), kPeak * static_cast<double>(step) / 20, 1e-12) << step;
  for (const uint64_t step : {20, 21, 500, 899, 900}) EXPECT_EQ(schedule.lr(step), kPeak) << step;
  EXPECT_LT(schedule.lr(901), kPeak);
}

TEST(Wsd, WarmsUpFromAGivenShare) {
  const auto schedule = wsd("linear", {{"warmup_start", 0.01}});
  EXPECT_NEAR(schedule.lr(0), 0.01 * kPeak, 1e-15);
  const double u = 7.0 / 20;
  EXPECT_NEAR(schedule.lr(7), kPeak * (u + (1 - u) / 100), 1e-12);  // the form of arXiv 2405.18392
}

TEST(Wsd, NamesTheStages) {
  const auto schedule = wsd("linear");
  EXPECT_EQ(schedule.stage(0), "warmup");
  EXPECT_EQ(schedule.stage(19), "warmup");
  EXPECT_EQ(schedule.stage(20), "stable");
  EXPECT_EQ(schedule.stage(899), "stable");
  EXPECT_EQ(schedule.stage(900), "decay");
  EXPECT_EQ(schedule.stage(999), "decay");
}

// A34: what follows the decay begins at the learning rate at which it ends.
TEST(Wsd, MayEndItsDecayBeforeTheRunAndStaysThere) {
  const auto whole = wsd("cosine", {{"floor", 0.1}});
  const auto schedule = wsd("cosine", {{"floor", 0.1}, {"decay_until", "80%"}});
  for (uint64_t step = 20; step <= 700; ++step) EXPECT_EQ(schedule.lr(step), kPeak) << step;
  for (uint64_t step = 700; step < 800; ++step) EXPECT_NEAR(schedule.lr(step), whole.lr(step + 200), 1e-12) << step;
  for (uint64_t step = 800; step <= 1000; ++step) EXPECT_EQ(schedule.lr(step), 0.1 * kPeak) << step;
  EXPECT_EQ(schedule.stage(799), "decay");
  EXPECT_EQ(schedule.stage(800), "constant");
}

struct ClosedForm {
  std::string shape;
  Settings settings;
  std::function<double(double)> share;  // of the peak, for x in [0, 1]
};

TEST(Wsd, DecaysAlongTheClosedForms) {
  const auto pi = std::numbers::pi;
  const std::vector<ClosedForm> forms = {
      {"one_minus_sqrt", {}, [](double x) { return 1 - std::sqrt(x); }},
      {"one_minus_sqrt", {{"floor", 0.1}}, [](double x) { return 0.1 + 0.9 * (1 - std::sqrt(x)); }},
      {"linear", {}, [](double x) { return 1 - x; }},
      {"linear", {{"floor", 0.2}}, [](double x) { return 1 - 0.8 * x; }},
      {"cosine", {}, [&](double x) { return std::pow(std::cos(pi * x / 2), 2); }},
      {"cosine", {{"floor", 0.1}}, [&](double x) { return 0.1 + 0.45 * (1 + std::cos(pi * x)); }},
      {"mirror_cosine", {}, [&](double x) { return 2 * (1 - x) - std::pow(std::cos(pi * x / 2), 2); }},
      {"square", {}, [](double x) { return (1 - x) * (1 + x); }},
      {"power", {{"exponent", 2.0}}, [](double x) { return (1 - x) * (1 - x); }},
      {"one_minus_power", {{"exponent", 0.25}}, [](double x) { return 1 - std::sqrt(std::sqrt(x)); }},
      {"exponential", {{"floor", 0.01}}, [](double x) { return std::exp(x * std::log(0.01)); }},
      {"half_life", {{"half_life", "25 steps"}}, [](double x) { return std::exp(-std::numbers::ln2 * 100 * x / 25); }},
      {"lowered_linear", {}, [](double x) { return 0.7 * (1 - x); }},
      {"lowered_linear", {{"lowered_level", 0.5}, {"floor", 0.1}}, [](double x) { return 0.1 + 0.9 * 0.5 * (1 - x); }},
  };
  for (const auto &form : forms) {
    const auto schedule = wsd(form.shape, form.settings);
    for (uint64_t step = 900; step <= 1000; ++step) {
      const double x = static_cast<double>(step - 900) / 100;
      EXPECT_NEAR(schedule.lr(step), kPeak * form.share(x), 1e-12) << form.shape << " at step " << step;
    }
  }
}

// A quarter and half of the way, as printed in published tables.
TEST(Wsd, MeetsPublishedValuesOfTheShapes) {
  const std::map<std::string, std::pair<double, double>> published = {
      {"linear", {.75, .5}},    {"cosine", {.853553, .5}},         {"mirror_cosine", {.646447, .5}},
      {"square", {.9375, .75}}, {"one_minus_sqrt", {.5, .292893}}, {"lowered_linear", {.525, .35}}};
  for (const auto &[shape, values] : published) {
    const auto schedule = wsd(shape);
    EXPECT_NEAR(schedule.lr(925) / kPeak, values.first, 5e-7) << shape;
    EXPECT_NEAR(schedule.lr(950) / kPeak, values.second, 5e-7) << shape;
  }
}

// MiniCPM's half-life of 5000 steps from 0.01: 0.005 after 5000 steps, a tenth after 16,610, 6.25e-4 after 20,000.
TEST(Wsd, HalvesEveryFiveThousandStepsByDefault) {
  const ScheduleUnderTest schedule("wsd", 100'000, with("half_life", {{"decay", "30%"}}));
  EXPECT_EQ(schedule.lr(70'000), 0.01);
  EXPECT_NEAR(schedule.lr(75'000), 0.005, 1e-12);
  EXPECT_NEAR(schedule.lr(86'610), 0.001, 1e-7);
  EXPECT_NEAR(schedule.lr(90'000), 6.25e-4, 1e-12);
}

TEST(Wsd, AcceptsNoWarmupNoDecayAndNothingBetween) {
  const auto at_once = wsd("linear", {{"warmup", "0%"}});
  EXPECT_EQ(at_once.lr(0), kPeak);
  EXPECT_EQ(at_once.stage(0), "stable");
  const auto endless = wsd("linear", {{"decay", "0 steps"}});
  EXPECT_EQ(endless.lr(999), kPeak);
  EXPECT_EQ(endless.lr(1000), kPeak);
  EXPECT_EQ(endless.stage(1000), "stable");
  const auto triangle = wsd("linear", {{"warmup", "30%"}, {"decay", "70%"}});
  ASSERT_TRUE(triangle.created()) << triangle.error();
  EXPECT_EQ(triangle.lr(300), kPeak);
  EXPECT_EQ(triangle.stage(299), "warmup");
  EXPECT_EQ(triangle.stage(300), "decay");
}

TEST(Wsd, IsFiniteAndNotNegativeAtEveryStep) {
  for (const std::string &shape : kShapes) {
    for (const Settings &edges : {Settings{},
                                  {{"warmup", "0%"}},
                                  {{"decay", "0%"}},
                                  {{"warmup", "0%"}, {"decay", "100%"}},
                                  {{"warmup", "1 steps"}, {"decay", "1 steps"}}}) {
      const ScheduleUnderTest schedule("wsd", 50, with(shape, edges));
      ASSERT_TRUE(schedule.created()) << schedule.error();
      for (uint64_t step = 0; step <= 50; ++step) {
        const double lr = schedule.lr(step);
        EXPECT_TRUE(std::isfinite(lr) && lr >= 0 && lr <= kPeak) << shape << " gives " << lr << " at step " << step;
      }
    }
  }
}

TEST(Wsd, GivesTheSameBitsInAnyOrderAndFromAnyInstance) {
  for (const std::string &shape : kShapes) {
    const auto one = wsd(shape), other = wsd(shape);
    std::vector<double> forwards;
    for (uint64_t step = 0; step < 1000; ++step) forwards.push_back(one.lr(step));
    for (uint64_t step = 1000; step-- > 0;) {
      EXPECT_EQ(one.lr(step), forwards[step]) << shape;
      EXPECT_EQ(other.lr(step), forwards[step]) << shape;
    }
  }
}

TEST(Wsd, LeavesTheOtherValuesToTheOptimizer) {
  const auto values = wsd("linear").values(950);
  EXPECT_EQ(values.weight_decay_multiplier, 1);
  EXPECT_TRUE(std::isnan(values.momentum));
}

void expect_refusal(const Settings &settings, const std::vector<std::string> &words) {
  const ScheduleUnderTest schedule("wsd", 1000, settings);
  ASSERT_FALSE(schedule.created());
  EXPECT_EQ(schedule.error_kind(), ErrorKind::kRecipe);
  for (const std::string &word : words) EXPECT_NE(schedule.error().find(word), std::string::npos) << schedule.error();
}

TEST(Wsd, RefusesAWarmupAndDecayThatDoNotFit) {
  expect_refusal(with("linear", {{"warmup", "40%"}, {"decay", "700 steps"}}),
                 {"warmup is 400000 tokens", "decay 700000 tokens", "1000000 tokens"});
}

TEST(Wsd, RefusesShapesWhoseFloorMakesNoSense) {
  expect_refusal(with("exponential", {{"floor", 0.0}}), {"exponential", "floor = 0", "above 0"});
  expect_refusal(with("half_life", {{"floor", 0.1}}), {"half_life", "floor = 0.1"});
}

}  // namespace
}  // namespace trainhost
