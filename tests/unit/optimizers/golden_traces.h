// Optimizers in double precision, by PyTorch or the formulas of their papers: tests/golden/optimizer_traces.py.
#pragma once

#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {

struct TracedOptimizer {
  std::string plugin;
  std::map<std::string, ParameterValue> parameters;

  double number(const char *name, double otherwise) const {
    const auto found = parameters.find(name);
    return found == parameters.end() ? otherwise : std::get<double>(found->second);
  }
};

inline const std::map<std::string, TracedOptimizer> kTracedOptimizers = {
    {"adamw", {"adamw", {}}},
    {"adamw_without_decay", {"adamw", {{"beta1", 0.8}, {"beta2", 0.999}, {"epsilon", 1e-6}, {"weight_decay", 0.0}}}},
    {"adam", {"adam", {}}},
    {"adam_decay", {"adam", {{"beta1", 0.8}, {"beta2", 0.95}, {"epsilon", 1e-6}, {"weight_decay", 0.1}}}},
    {"adagrad", {"adagrad", {}}},
    {"adagrad_decay", {"adagrad", {{"epsilon", 1e-6}, {"weight_decay", 0.1}, {"initial_sum", 0.5}}}},
    {"lamb", {"lamb", {}}},
    {"lion", {"lion", {}}},
    {"ademamix", {"ademamix", {}}},
    {"ademamix_ramp",
     {"ademamix",
      {{"beta1", 0.8},
       {"beta2", 0.95},
       {"beta3", 0.99},
       {"alpha", 5.0},
       {"ramp", std::string("20 steps")},
       {"epsilon", 1e-6},
       {"weight_decay", 0.0}}}},
    {"adafactor", {"adafactor", {}}},
    {"adafactor_decay", {"adafactor", {{"decay_power", -0.6}, {"smallest_rms", 1e-2}, {"clip", 1.25}, {"weight_decay", 0.1}}}},
    {"schedule_free", {"schedule_free", {}}},
    {"schedule_free_without_decay", {"schedule_free", {{"beta", 0.98}, {"beta2", 0.95}, {"epsilon", 1e-6}, {"weight_decay", 0.0}}}},
    {"muon", {"muon", {}}},
    {"sgd", {"sgd", {}}},
    {"sgd_decay", {"sgd", {{"weight_decay", 0.1}}}},
    {"momentum", {"sgd", {{"momentum", 0.9}}}},
    {"nesterov", {"sgd", {{"momentum", 0.9}, {"nesterov", true}}}},
    {"nesterov_decay", {"sgd", {{"momentum", 0.9}, {"nesterov", true}, {"weight_decay", 0.1}}}},
};

// update(traced optimizer, plugin, parameter, step) is called for each step of each trace and must leave its parameters in
// parameter.master.
template <class Update>
void expect_golden_traces(Update &&update) {
  const auto traces = nlohmann::json::parse(std::ifstream(TRAINHOST_SOURCE_DIR "/tests/golden/optimizers/traces.json")).at("traces");
  std::set<std::string> names;
  for (const auto &trace : traces) {
    const TracedOptimizer &traced = kTracedOptimizers.at(*names.insert(trace.at("optimizer")).first);
    const auto optimizer = optimizer_under_test(traced.plugin, traced.parameters);
    UpdatedParameter parameter(*optimizer, trace.at("start").get<std::vector<float>>(), "weight",
                               trace.at("shape").get<std::vector<int64_t>>());
    uint64_t step = 0;
    for (const auto &golden : trace.at("steps")) {
      parameter.gradient = golden.at("gradient").get<std::vector<float>>();
      parameter.learning_rate = golden.at("lr");
      update(traced, *optimizer, parameter, step++);
      const auto expected = golden.at("parameter").template get<std::vector<double>>();
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(parameter.master[i], expected[i], 1e-6) << trace.at("optimizer") << " on " << trace.at("problem") << ", step " << step;
      }
    }
    EXPECT_EQ(step, 50u);
  }
  EXPECT_EQ(names.size(), kTracedOptimizers.size());
}

}  // namespace trainhost
