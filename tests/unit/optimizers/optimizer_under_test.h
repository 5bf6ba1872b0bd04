// Parameters with gradients and states, and a shipped optimizer that updates them.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plugin_host/adapters/optimizer.h"
#include "recipe/token_axis.h"
#include "support/plugin_under_test.h"

namespace trainhost {

// Amounts are resolved on a run of so many steps.
inline std::unique_ptr<Optimizer> optimizer_under_test(const std::string &name,
                                                       const std::map<std::string, ParameterValue> &parameters = {}, uint64_t steps = 50) {
  Recipe recipe;
  recipe.run.tokens = steps * recipe.training.batch.tokens;
  recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
  const TokenAxis axis(recipe);
  auto created = Optimizer::create(plugin_under_test(PluginKind::kOptimizer, name, parameters, &axis));
  if (!created) throw std::runtime_error(created.error().message);
  return *std::move(created);
}

// A parameter with the states that an optimizer wants; of one dimension where no shape is given.
class UpdatedParameter {
 public:
  UpdatedParameter(const Optimizer &optimizer, std::vector<float> start, std::string name = "weight", std::vector<int64_t> shape = {},
                   int32_t role = TH_ROLE_MATRIX)
      : master(std::move(start)), gradient(master.size()), compute_copy(master.size()), name_(std::move(name)), shape_(std::move(shape)) {
    if (shape_.empty()) shape_ = {static_cast<int64_t>(master.size())};
    info_.struct_size = sizeof info_;
    info_.role = role;
    info_.rank = static_cast<int32_t>(shape_.size());
    info_.weight_decay = 1;
    info_.name = {name_.data(), name_.size()};
    std::ranges::copy(shape_, info_.shape);
    described_ = optimizer.describe_states(info_).value();
    for (const auto &state : described_) {
      state_names.push_back(state.name);
      const size_t count = state.element_count(master.size());
      const bool bfloat16 = state.type == ElementType::kBfloat16;
      states.emplace_back(bfloat16 ? 0 : count, static_cast<float>(state.initial));
      bfloat16_states.emplace_back(bfloat16 ? count : 0);  // which begin with 0 in all shipped optimizers
    }
  }

  // Elements [first, first + count); valid until the next call.
  th_update piece(size_t first, size_t count) {
    piece_shape_ = {static_cast<int64_t>(count)};
    return update(first, piece_shape_);
  }
  th_update whole() { return update(0, shape_); }

  std::vector<float> master, gradient;
  std::vector<uint16_t> compute_copy;
  std::vector<std::string> state_names;
  std::vector<std::vector<float>> states;              // of a state of bfloat16 empty
  std::vector<std::vector<uint16_t>> bfloat16_states;  // of all others empty
  bool with_compute_copy = false;
  double learning_rate = 0.01, weight_decay_multiplier = 1;

 private:
  static th_tensor view(const void *data, const std::vector<int64_t> &shape, uint8_t code = TH_DTYPE_FLOAT, uint8_t bits = 32) {
    return {.data = const_cast<void *>(data),
            .device_type = TH_DEVICE_CPU,
            .device_index = 0,
            .rank = static_cast<int32_t>(shape.size()),
            .dtype_code = code,
            .dtype_bits = bits,
            .dtype_lanes = 1,
            .shape = const_cast<int64_t *>(shape.data()),
            .strides = nullptr,
            .byte_offset = 0};
  }

  // What begins with element `first` and has the shape.
  th_update update(size_t first, const std::vector<int64_t> &shape) {
    info_.name = {name_.data(), name_.size()};  // which may have moved
    state_views_.clear();
    for (size_t i = 0; i < states.size(); ++i) {
      if (described_[i].type == ElementType::kBfloat16) {
        state_views_.push_back(view(bfloat16_states[i].data() + first, shape, TH_DTYPE_BFLOAT, 16));
      } else {
        state_views_.push_back(described_[i].like_parameter ? view(states[i].data() + first, shape)
                                                            : view(states[i].data(), described_[i].shape));
      }
    }
    return {.info = &info_,
            .master = view(master.data() + first, shape),
            .gradient = view(gradient.data() + first, shape),
            .compute_copy = view(with_compute_copy ? compute_copy.data() + first : nullptr, shape, TH_DTYPE_BFLOAT, 16),
            .states = state_views_.data(),
            .learning_rate = learning_rate,
            .weight_decay_multiplier = weight_decay_multiplier};
  }

  std::string name_;
  std::vector<int64_t> shape_, piece_shape_;
  std::vector<OptimizerState> described_;
  th_parameter_info info_{};
  std::vector<th_tensor> state_views_;
};

// scale must outlive the call.
inline th_update_call call_at(uint64_t step, const float &scale, double momentum = std::numeric_limits<double>::quiet_NaN()) {
  return {.struct_size = sizeof(th_update_call),
          .reserved = 0,
          .step = step,
          .gradient_scale = &scale,
          .momentum = momentum,
          .stream = nullptr,
          .workspace = nullptr};
}

// What an update of these parameters may work in, of undefined contents.
class UpdateWorkspace {
 public:
  UpdateWorkspace(const Optimizer &optimizer, std::span<const th_update> updates) {
    std::vector<const th_parameter_info *> infos;
    for (const th_update &update : updates) infos.push_back(update.info);
    Line undefined;
    std::ranges::fill(undefined.bytes, uint8_t{0xff});  // NaNs
    lines_.resize(optimizer.workspace_bytes(infos).value() / sizeof(Line) + 1, undefined);
  }
  void *data() { return lines_.data(); }

 private:
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  std::vector<Line> lines_;
};

// One update with the workspace that the optimizer asks for.
inline Result<> update(Optimizer &optimizer, th_update_call call, std::span<const th_update> updates) {
  UpdateWorkspace workspace(optimizer, updates);
  call.workspace = workspace.data();
  return optimizer.update(call, updates);
}

// Numbers of both signs and many magnitudes, the same on every machine.
inline std::vector<float> numbers(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float &value : values) {
    seed = seed * 1664525 + 1013904223;
    value = std::ldexp(static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f, -static_cast<int>(seed >> 8 & 7));
  }
  return values;
}

}  // namespace trainhost
