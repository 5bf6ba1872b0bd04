// Against PyTorch in double precision: tests/golden/optimizer_traces.py.
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

using Json = nlohmann::json;

struct Configuration {
  std::string plugin;
  std::map<std::string, ParameterValue> parameters;
};

const std::map<std::string, Configuration> kConfigurations = {
    {"adamw", {"adamw", {}}},
    {"adamw_without_decay", {"adamw", {{"beta1", 0.8}, {"beta2", 0.999}, {"epsilon", 1e-6}, {"weight_decay", 0.0}}}},
    {"sgd", {"sgd", {}}},
    {"sgd_decay", {"sgd", {{"weight_decay", 0.1}}}},
    {"momentum", {"sgd", {{"momentum", 0.9}}}},
    {"nesterov", {"sgd", {{"momentum", 0.9}, {"nesterov", true}}}},
    {"nesterov_decay", {"sgd", {{"momentum", 0.9}, {"nesterov", true}, {"weight_decay", 0.1}}}},
};

Json golden_traces() { return Json::parse(std::ifstream(TRAINHOST_SOURCE_DIR "/tests/golden/optimizers/traces.json")).at("traces"); }

void expect_trace(const Json &trace) {
  const Configuration &configuration = kConfigurations.at(trace.at("optimizer"));
  const auto optimizer = optimizer_under_test(configuration.plugin, configuration.parameters);
  UpdatedParameter parameter(*optimizer, trace.at("start").get<std::vector<float>>());
  const float scale = 1;
  uint64_t step = 0;
  for (const Json &golden : trace.at("steps")) {
    parameter.gradient = golden.at("gradient").get<std::vector<float>>();
    parameter.learning_rate = golden.at("lr");
    const th_update update = parameter.whole();
    ASSERT_TRUE(optimizer->update(call_at(step++, scale), {&update, 1}));
    const auto expected = golden.at("parameter").get<std::vector<double>>();
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(parameter.master[i], expected[i], 1e-6) << trace.at("optimizer") << " on " << trace.at("problem") << ", step " << step;
    }
  }
  EXPECT_EQ(step, 50u);
}

TEST(GoldenTrace, IsFollowedByEveryOptimizer) {
  const Json traces = golden_traces();
  EXPECT_EQ(traces.size(), 2 * kConfigurations.size());
  for (const Json &trace : traces) expect_trace(trace);
}

}  // namespace
}  // namespace trainhost
