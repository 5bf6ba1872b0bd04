#include <limits>

#include <gtest/gtest.h>

#include "plugin_host/manifest.h"
#include "support/fixture_plugin.h"

namespace trainhost {
namespace {

const Manifest &mirror() {
  static const Manifest manifest = *read_manifest(fixture_plugin("mirror"));
  return manifest;
}

// The mistake found when `name` is set to `value` beside what is required.
std::string mistake(const std::string &name, ParameterValue value) {
  Parameters parameters{{"label", {"a", true, {}}}};
  parameters[name] = {std::move(value), true, {}};
  const auto errors = check_parameters(mirror(), parameters, {});
  return errors.empty() ? "none" : errors.front().message;
}

TEST(Parameters, GetTheirDefaults) {
  Parameters parameters{{"label", {"a", true, {"f", 4, 1}}}};
  ASSERT_TRUE(check_parameters(mirror(), parameters, {"f", 3, 1}).empty());
  EXPECT_EQ(parameters.size(), 7u);
  EXPECT_TRUE(parameters["label"].given);
  EXPECT_FALSE(parameters["count"].given);
  EXPECT_EQ(std::get<int64_t>(parameters["count"].value), 3);
  EXPECT_EQ(std::get<std::string>(parameters["length"].value), "10%");
}

TEST(Parameters, OfOverridesGetNone) {
  Parameters parameters{{"rate", {int64_t{2}, true, {}}}};
  ASSERT_TRUE(check_parameters(mirror(), parameters, {}, false).empty());
  EXPECT_EQ(parameters.size(), 1u);
  EXPECT_EQ(std::get<double>(parameters["rate"].value), 2.0);
}

TEST(Parameters, AreRefusedWithWhatWasFoundAndExpected) {
  EXPECT_EQ(mistake("cuont", int64_t{1}), "unknown parameter `cuont` of lr_scheduler plugin \"mirror\"; did you mean `count`?");
  EXPECT_EQ(mistake("zzz", int64_t{1}),
            "unknown parameter `zzz` of lr_scheduler plugin \"mirror\"; it has count, rate, fraction, enabled, shape, length, label");
  EXPECT_EQ(mistake("count", 1.5), "parameter `count` of lr_scheduler plugin \"mirror\" must be an integer, found 1.5");
  EXPECT_EQ(mistake("count", int64_t{0}), "parameter `count` of lr_scheduler plugin \"mirror\" must be at least 1 and at most 10, found 0");
  EXPECT_EQ(mistake("count", int64_t{11}),
            "parameter `count` of lr_scheduler plugin \"mirror\" must be at least 1 and at most 10, found 11");
  EXPECT_EQ(mistake("count", int64_t{10}), "none");
  EXPECT_EQ(mistake("rate", "fast"), "parameter `rate` of lr_scheduler plugin \"mirror\" must be a number, found \"fast\"");
  EXPECT_EQ(mistake("rate", 0.0), "parameter `rate` of lr_scheduler plugin \"mirror\" must be above 0, found 0");
  EXPECT_EQ(mistake("rate", true), "parameter `rate` of lr_scheduler plugin \"mirror\" must be a number, found true");
  EXPECT_EQ(mistake("rate", std::numeric_limits<double>::infinity()),
            "parameter `rate` of lr_scheduler plugin \"mirror\" must be a finite number, found inf");
  EXPECT_EQ(mistake("rate", std::numeric_limits<double>::quiet_NaN()),
            "parameter `rate` of lr_scheduler plugin \"mirror\" must be a finite number, found nan");
  EXPECT_EQ(mistake("fraction", 1.25), "parameter `fraction` of lr_scheduler plugin \"mirror\" must be above 0 and at most 1, found 1.25");
  EXPECT_EQ(mistake("enabled", int64_t{1}), "parameter `enabled` of lr_scheduler plugin \"mirror\" must be true or false, found 1");
  EXPECT_EQ(mistake("shape", "cosin"),
            "parameter `shape` of lr_scheduler plugin \"mirror\" must be one of \"linear\", \"cosine\", \"sqrt\", found \"cosin\"; "
            "did you mean \"cosine\"?");
  EXPECT_EQ(
      mistake("length", int64_t{5}),
      "parameter `length` of lr_scheduler plugin \"mirror\" must be an amount such as \"500 steps\", \"2M tokens\" or \"10%\", found 5");
  EXPECT_EQ(mistake("length", "5 stebs"),
            "parameter `length` of lr_scheduler plugin \"mirror\" is no amount: expected an amount such as \"500 steps\", \"2M tokens\" or "
            "\"10%\", found \"5 stebs\"; did you mean \"steps\"?");
}

TEST(Parameters, ThatAreRequiredMustBeGiven) {
  Parameters parameters;
  const auto errors = check_parameters(mirror(), parameters, {"recipe.toml", 12, 1});
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(to_string(errors.front()),
            "recipe.toml:12:1: parameter `label` (string: What it is called.) of lr_scheduler plugin \"mirror\" is required and not given");
}

TEST(Parameters, ShowAllMistakesAtOnce) {
  Parameters parameters{
      {"count", {int64_t{0}, true, {"f", 2, 1}}}, {"shape", {"round", true, {"f", 3, 1}}}, {"nought", {int64_t{1}, true, {"f", 4, 1}}}};
  EXPECT_EQ(check_parameters(mirror(), parameters, {}).size(), 4u);  // label is missing too
}

}  // namespace
}  // namespace trainhost
