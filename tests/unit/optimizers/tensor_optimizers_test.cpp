// What adamw and sgd run on CUDA, on CPU tensors.
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

constexpr AdamWSettings kAdamW{.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1};  // the plugin's defaults

TEST(TensorOptimizers, FollowTheGoldenTraces) {
  const float scale = 1;
  expect_golden_traces([&](const TracedOptimizer &traced, Optimizer &, UpdatedParameter &parameter, uint64_t step) {
    const th_update update = parameter.whole();
    const th_update_call call = call_at(step, scale);
    if (traced.plugin == "adamw") {
      const AdamWSettings settings{traced.number("beta1", kAdamW.beta1), traced.number("beta2", kAdamW.beta2),
                                   traced.number("epsilon", kAdamW.epsilon), traced.number("weight_decay", kAdamW.weight_decay)};
      tensor_optimizers().adamw(settings, call, {&update, 1});
    } else {
      const SgdSettings settings{traced.number("momentum", 0), traced.number("weight_decay", 0), traced.parameters.contains("nesterov")};
      tensor_optimizers().sgd(settings, call, {&update, 1}, !parameter.states.empty());
    }
  });
}

// Parameters of several sizes, learning rates and decays.
std::vector<UpdatedParameter> parameters_for(const Optimizer &optimizer) {
  std::vector<UpdatedParameter> parameters;
  uint32_t seed = 0;
  for (const size_t count : {1u, 7u, 30'000u, 2048u}) {
    UpdatedParameter &parameter = parameters.emplace_back(optimizer, numbers(count, ++seed));
    parameter.gradient = numbers(count, 100 + seed);
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

// Three steps with scaled gradients and a momentum from the schedule, by the plugin's loops and by tensors.
void expect_agreement(const Optimizer &describing, Optimizer &plugin,
                      const std::function<void(const th_update_call &, std::span<const th_update>)> &tensors) {
  auto expected = parameters_for(describing), found = parameters_for(describing);
  const float scale = 0.375f;
  for (uint64_t step = 0; step < 3; ++step) {
    ASSERT_TRUE(plugin.update(call_at(step, scale, 0.5), updates_of(expected)));
    tensors(call_at(step, scale, 0.5), updates_of(found));
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_THAT(found[i].master, testing::Pointwise(testing::FloatNear(1e-6f), expected[i].master)) << i;
    for (size_t s = 0; s < expected[i].states.size(); ++s) {
      EXPECT_THAT(found[i].states[s], testing::Pointwise(testing::FloatNear(1e-6f), expected[i].states[s])) << i;
    }
    EXPECT_EQ(found[i].gradient, expected[i].gradient) << i;  // read only
  }
}

TEST(TensorOptimizers, AgreeWithThePluginsOnManyParameters) {
  const auto adamw = optimizer_under_test("adamw");
  expect_agreement(*adamw, *adamw, [](const th_update_call &call, std::span<const th_update> updates) {
    tensor_optimizers().adamw({0.5, kAdamW.beta2, kAdamW.epsilon, kAdamW.weight_decay}, call, updates);
  });
  const auto sgd = optimizer_under_test("sgd", {{"momentum", 0.9}, {"weight_decay", 0.1}});
  expect_agreement(*sgd, *sgd, [](const th_update_call &call, std::span<const th_update> updates) {
    tensor_optimizers().sgd({.momentum = 0.5, .weight_decay = 0.1, .nesterov = false}, call, updates, true);
  });
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
  tensor_optimizers().adamw(kAdamW, call_at(0, scale), {&update, 1});
  EXPECT_EQ(parameter.compute_copy, (std::vector<uint16_t>{0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x8000, 0x7f80, 0x7f80}));
}

// This program has not loaded LibTorch's CUDA half: as on a machine without a GPU.
TEST(TensorOptimizers, NeedAGpuForCuda) {
  for (const char *plugin : {"adamw", "sgd"}) {
    const auto optimizer = optimizer_under_test(plugin);
    UpdatedParameter parameter(*optimizer, {1, 2, 3});
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
