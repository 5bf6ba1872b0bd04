// A small run to plan for.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "plan/memory_choice.h"
#include "support/plugin_under_test.h"

namespace trainhost::test {

struct SmallRun {
  static constexpr uint32_t kVocabulary = 1000;

  explicit SmallRun(const std::string &model_name = "minicpm", PlannedDevice device = {}, const std::string &optimizer_name = "adamw",
                    const std::map<std::string, ParameterValue> &optimizer_parameters = {})
      : device(device) {
    const std::map<std::string, ParameterValue> parameters{
        {"layers", int64_t{6}}, {"width", int64_t{128}}, {"heads", int64_t{4}}, {"kv_heads", int64_t{2}}, {"feed_forward", int64_t{320}}};
    recipe.file = "/recipe.toml";
    recipe.packing.sequence_length = 64;
    recipe.training.batch = Batch::constant(8 * 512);
    recipe.training.micro_batch_tokens = 512;
    recipe.training.recompute = 0;
    recipe.metrics.telemetry = false;
    recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
    th_model_options options{};
    options.struct_size = sizeof options;
    options.vocabulary_size = kVocabulary;
    options.device_type = device.gpu ? TH_DEVICE_CUDA : TH_DEVICE_CPU;
    options.compute_code = device.bfloat16 ? TH_DTYPE_BFLOAT : TH_DTYPE_FLOAT;
    options.compute_bits = device.bfloat16 ? 16 : 32;
    options.outline = device.gpu ? 1 : 0;
    options.sequence_length = 64;
    options.tokens = 4096;
    model = *Model::create(plugin_under_test(PluginKind::kModel, model_name, parameters), options);
    phases.optimizers.push_back(*Optimizer::create(plugin_under_test(PluginKind::kOptimizer, optimizer_name, optimizer_parameters)));
  }

  PlannedRun planned(uint32_t processes = 1) const {
    return {.recipe = recipe, .model = *model, .phases = phases, .vocabulary_size = kVocabulary, .processes = processes, .device = device};
  }
  MemoryPlan plan(uint32_t processes = 1, const MemorySettings &settings = {}) const {
    const auto plan = plan_memory(planned(processes), settings);
    if (!plan) throw std::runtime_error(plan.error().message);
    return *plan;
  }

  const PlannedDevice device;
  Recipe recipe;
  std::unique_ptr<Model> model;
  PhaseParts phases;
};

}  // namespace trainhost::test
