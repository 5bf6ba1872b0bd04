// What the optimizers run on CUDA, on CPU tensors.
#include "optimizers/tensors/tensor_optimizers.h"

#include <functional>

#include <dlfcn.h>
#include <gmock/gmock.h>

#include "unit/optimizers/golden_traces.h"

namespace trainhost {
namespace {

const TensorOptimizers &tensor_optimizers() {
  static void *const library = dlopen(TRAINHOST_BINARY_DIR "/lib/libtrainhost_tensor_optimizers.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  return *reinterpret_cast<TensorOptimizersEntry *>(dlsym(library, kTensorOptimizersEntry))();
}

constexpr AdamSettings kAdamW{.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .decoupled = true};  // the defaults

// As a plugin whose parameters differ from its defaults as `traced` says calls its function. AdEMAMix is at the end of its ramp.
void update_tensors(const TracedOptimizer &traced, const th_update_call &call, std::span<const th_update> updates, bool has_buffer) {
  const TensorOptimizers &tensors = tensor_optimizers();
  const auto number = [&](const char *name, double otherwise) { return traced.number(name, otherwise); };
  const std::string &plugin = traced.plugin;
  const double beta1 = number("beta1", 0.9);
  if (plugin == "adamw") {
    tensors.adam({beta1, number("beta2", 0.95), number("epsilon", 1e-8), number("weight_decay", 0.1), true}, call, updates);
  } else if (plugin == "adam") {
    tensors.adam({beta1, number("beta2", 0.999), number("epsilon", 1e-8), number("weight_decay", 0), false}, call, updates);
  } else if (plugin == "adagrad") {
    tensors.adagrad({number("epsilon", 1e-10), number("weight_decay", 0)}, call, updates);
  } else if (plugin == "lion") {
    tensors.lion({beta1, number("beta2", 0.99), number("weight_decay", 0.3)}, call, updates);
  } else if (plugin == "ademamix") {
    tensors.ademamix({beta1, 0.999, 0.9999, 8, 1e-8, 0.1}, call, updates);
  } else if (plugin == "lamb") {
    tensors.lamb({beta1, number("beta2", 0.999), number("epsilon", 1e-6), number("weight_decay", 0.1), 10, true}, call, updates);
  } else if (plugin == "adafactor") {
    tensors.adafactor({number("decay_power", -0.8), 1e-30, number("smallest_rms", 1e-3), number("clip", 1), number("weight_decay", 0)},
                      call, updates);
  } else if (plugin == "schedule_free") {
    tensors.schedule_free({number("beta", 0.9), number("beta2", 0.999), number("epsilon", 1e-8), number("weight_decay", 0.1)}, call,
                          updates);
  } else if (plugin == "muon") {
    for (const th_update &update : updates) tensors.muon({number("momentum", 0.95), 0.2, number("weight_decay", 0.1)}, call, update);
  } else {
    tensors.sgd({number("momentum", 0), number("weight_decay", 0), traced.parameters.contains("nesterov")}, call, updates, has_buffer);
  }
}

// A29, A30. Whose ramps the plugin knows is compared with the plugin below.
TEST(TensorOptimizers, FollowTheGoldenTraces) {
  const float scale = 1;
  expect_golden_traces([&](const TracedOptimizer &traced, Optimizer &optimizer, UpdatedParameter &parameter, uint64_t step) {
    const th_update whole = parameter.whole();
    if (traced.plugin == "ademamix") return (void)optimizer.update(call_at(step, scale), {&whole, 1});
    th_update_call call = call_at(step, scale);
    UpdateWorkspace workspace(optimizer, {&whole, 1});
    call.workspace = workspace.data();
    update_tensors(traced, call, {&whole, 1}, !parameter.states.empty());
  });
}

// Parameters of several shapes, learning rates and decays.
std::vector<UpdatedParameter> parameters_for(const Optimizer &optimizer, const std::vector<std::vector<int64_t>> &shapes) {
  std::vector<UpdatedParameter> parameters;
  uint32_t seed = 0;
  for (const auto &shape : shapes) {
    size_t count = 1;
    for (const int64_t extent : shape) count *= static_cast<size_t>(extent);
    UpdatedParameter &parameter = parameters.emplace_back(optimizer, numbers(count, ++seed), "weight", shape);
    parameter.learning_rate = seed % 2 == 0 ? 0.01 : 0.03;
    parameter.weight_decay_multiplier = seed > 2 ? 1 : 0;
    parameter.with_compute_copy = seed != 4;
  }
  return parameters;
}

std::vector<th_update> updates_of(std::vector<UpdatedParameter> &parameters) {
  std::vector<th_update> updates;
  for (UpdatedParameter &parameter : parameters) updates.push_back(parameter.whole());
  return updates;
}

const std::vector<std::vector<int64_t>> kVectors = {{1}, {7}, {30'000}, {2048}},
                                        kMatrices = {{1, 1}, {7, 300}, {300, 70}, {64, 64}, {1, 5}};

// Three steps with scaled gradients and, where there is one, a momentum from the schedule, by the plugin's loops and by tensors.
void expect_agreement(const TracedOptimizer &traced, double momentum, const std::vector<std::vector<int64_t>> &shapes,
                      float tolerance = 1e-6f) {
  const auto plugin = optimizer_under_test(traced.plugin, traced.parameters, 1);
  auto expected = parameters_for(*plugin, shapes), found = parameters_for(*plugin, shapes);
  TracedOptimizer given = traced;
  if (!std::isnan(momentum)) given.parameters["beta1"] = given.parameters["beta"] = given.parameters["momentum"] = momentum;
  const float scale = 0.375f;
  for (uint64_t step = 0; step < 3; ++step) {
    th_update_call call = call_at(step, scale, momentum);
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i].gradient = found[i].gradient = numbers(found[i].gradient.size(), static_cast<uint32_t>(100 + 10 * step + i));
    }
    ASSERT_TRUE(update(*plugin, call, updates_of(expected)));
    const auto updates = updates_of(found);
    UpdateWorkspace workspace(*plugin, updates);
    call.workspace = workspace.data();
    update_tensors(given, call, updates, !found[0].states.empty());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string what = traced.plugin + ", parameter " + std::to_string(i);
    EXPECT_THAT(found[i].master, testing::Pointwise(testing::FloatNear(tolerance), expected[i].master)) << what;
    for (size_t s = 0; s < expected[i].states.size(); ++s) {
      EXPECT_THAT(found[i].states[s], testing::Pointwise(testing::FloatNear(tolerance), expected[i].states[s])) << what;
    }
    EXPECT_EQ(found[i].gradient, expected[i].gradient) << what;  // read only
    if (expected[i].with_compute_copy) EXPECT_NE(found[i].compute_copy, std::vector<uint16_t>(found[i].master.size())) << what;
  }
}

TEST(TensorOptimizers, AgreeWithThePluginsOnManyParameters) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  for (const char *plugin : {"adam", "adamw", "lion", "ademamix", "lamb", "schedule_free"}) expect_agreement({plugin, {}}, 0.5, kVectors);
  expect_agreement({"adam", {{"weight_decay", 0.1}}}, 0.5, kVectors);
  expect_agreement({"sgd", {{"momentum", 0.9}, {"weight_decay", 0.1}}}, 0.5, kVectors);
  expect_agreement({"adagrad", {{"weight_decay", 0.1}}}, none, kVectors);
  expect_agreement({"lamb", {}}, 0.5, kMatrices);
  expect_agreement({"adafactor", {{"weight_decay", 0.1}}}, none, kVectors);
  expect_agreement({"adafactor", {{"weight_decay", 0.1}}}, none, kMatrices);
  expect_agreement({"muon", {}}, 0.5, kMatrices, 1e-5f);  // the iteration makes much of roundings
}

// The first update of each, whose moments before rounding differ by an error of float32 at most; those of SGD do not, so it rounds them to
// the same bits.
TEST(TensorOptimizers, RoundMomentsOfBfloat16AsThePluginsDo) {
  for (const char *plugin : {"sgd", "adam", "adamw", "lion", "ademamix", "lamb", "muon"}) {
    for (const auto &shapes : {kVectors, kMatrices}) {
      if (plugin == std::string("muon") && shapes == kVectors) continue;
      TracedOptimizer traced{plugin, {{"moments", std::string("bfloat16")}}};
      if (traced.plugin == "sgd") traced.parameters["momentum"] = 0.9;
      const auto optimizer = optimizer_under_test(plugin, traced.parameters, 1);
      auto expected = parameters_for(*optimizer, shapes), found = parameters_for(*optimizer, shapes);
      const float scale = 0.375f;
      // LAMB's direction is that of the kept moments, of which some are a 256th larger.
      const float tolerance = traced.plugin == "lamb" ? 1e-2f / 256 : traced.plugin == "muon" ? 1e-5f : 1e-6f;
      size_t all = 0, others = 0;
      th_update_call call = call_at(0, scale);
      for (size_t i = 0; i < expected.size(); ++i)
        expected[i].gradient = found[i].gradient = numbers(found[i].gradient.size(), static_cast<uint32_t>(100 + i));
      ASSERT_TRUE(update(*optimizer, call, updates_of(expected)));
      const auto updates = updates_of(found);
      UpdateWorkspace workspace(*optimizer, updates);
      call.workspace = workspace.data();
      update_tensors(traced, call, updates, true);
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_THAT(found[i].master, testing::Pointwise(testing::FloatNear(tolerance), expected[i].master)) << plugin;
        for (size_t s = 0; s < expected[i].bfloat16_states.size(); ++s) {
          const auto &a = expected[i].bfloat16_states[s], &b = found[i].bfloat16_states[s];
          for (size_t e = 0; e < a.size(); ++e) {
            ++all;
            others += a[e] != b[e];
            ASSERT_LE(std::abs(a[e] - b[e]), 1) << plugin;  // neighbours
          }
        }
      }
      EXPECT_LE(static_cast<double>(others), (traced.plugin == "sgd" ? 0 : 0.1) * static_cast<double>(all)) << plugin;
      std::printf("%s: %zu of %zu moments are the other neighbour\n", plugin, others, all);
    }
  }
}

TEST(TensorOptimizers, TakeAMomentumOfZeroWithABuffer) {
  const auto sgd = optimizer_under_test("sgd", {{"momentum", 0.9}});
  UpdatedParameter parameter(*sgd, {1.0f});
  parameter.gradient = {0.5f};
  parameter.learning_rate = 1;
  parameter.states[0] = {7.0f};
  const float scale = 1;
  const th_update update = parameter.whole();
  tensor_optimizers().sgd({.momentum = 0, .weight_decay = 0, .nesterov = false}, call_at(0, scale), {&update, 1}, true);
  EXPECT_EQ(parameter.master[0], 0.5f);
  EXPECT_EQ(parameter.states[0][0], 0.5f);
}

TEST(TensorOptimizers, WriteTheComputeCopyRoundedToNearestEven) {
  const auto adamw = optimizer_under_test("adamw");
  const float infinity = std::numeric_limits<float>::infinity();
  UpdatedParameter parameter(*adamw, {1.0f, 1.00390625f, 1.01171875f, 1.00390637f, -0.0f, infinity, 3.4e38f});
  parameter.with_compute_copy = true;
  parameter.learning_rate = 0;
  const float scale = 1;
  const th_update update = parameter.whole();
  tensor_optimizers().adam(kAdamW, call_at(0, scale), {&update, 1});
  EXPECT_EQ(parameter.compute_copy, (std::vector<uint16_t>{0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x8000, 0x7f80, 0x7f80}));
}

// This program has not loaded LibTorch's CUDA half: as on a machine without a GPU.
TEST(TensorOptimizers, NeedAGpuForCuda) {
  for (const char *plugin : {"sgd", "adagrad", "adam", "adamw", "lion", "ademamix", "lamb", "adafactor", "schedule_free", "muon"}) {
    const auto optimizer = optimizer_under_test(plugin);
    UpdatedParameter parameter(*optimizer, {1, 2, 3}, "weight", {1, 3});
    th_update update = parameter.whole();
    std::vector<th_tensor> states(update.states, update.states + parameter.states.size());
    for (th_tensor *tensor : {&update.master, &update.gradient}) tensor->device_type = TH_DEVICE_CUDA;
    for (th_tensor &state : states) state.device_type = TH_DEVICE_CUDA;
    update.states = states.data();
    const float scale = 1;
    const auto result = optimizer->update(call_at(0, scale), {&update, 1});
    ASSERT_FALSE(result) << plugin;
    EXPECT_THAT(result.error().message, testing::HasSubstr("LibTorch finds no GPU in this process"));
    EXPECT_EQ(parameter.master, (std::vector<float>{1, 2, 3}));
  }
}

}  // namespace
}  // namespace trainhost
