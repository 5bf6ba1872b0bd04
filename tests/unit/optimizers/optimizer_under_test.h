// Parameters with gradients and states, and a shipped optimizer that updates them.
#pragma once

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plugin_host/adapters/optimizer.h"
#include "support/plugin_under_test.h"
#include "tensor/tensor_view.h"

namespace trainhost {

inline std::unique_ptr<Optimizer> optimizer_under_test(const std::string &name,
                                                       const std::map<std::string, ParameterValue> &parameters = {}) {
  auto created = Optimizer::create(plugin_under_test(PluginKind::kOptimizer, name, parameters));
  if (!created) throw std::runtime_error(created.error().message);
  return *std::move(created);
}

// A one-dimensional parameter with the states that an optimizer wants.
class UpdatedParameter {
 public:
  UpdatedParameter(const Optimizer &optimizer, std::vector<float> start, std::string name = "weight")
      : master(std::move(start)), gradient(master.size()), compute_copy(master.size()), name_(std::move(name)) {
    const int64_t count = static_cast<int64_t>(master.size());
    info_.struct_size = sizeof info_;
    info_.role = TH_ROLE_MATRIX;
    info_.rank = 1;
    info_.weight_decay = 1;
    info_.name = {name_.data(), name_.size()};
    info_.shape[0] = count;
    const auto described = optimizer.describe_states(info_).value();
    for (const auto &state : described) {
      state_names.push_back(state.name);
      states.emplace_back(master.size(), static_cast<float>(state.initial));
    }
  }

  // Elements [first, first + count); valid until the next call.
  th_update piece(size_t first, size_t count) {
    const auto tensor = [&](const std::vector<float> &values) { return TensorView(values.data() + first, {static_cast<int64_t>(count)}); };
    views_ = {tensor(master), tensor(gradient), tensor(master)};
    for (const auto &state : states) views_.push_back(tensor(state));
    tensors_.clear();
    for (TensorView &view : views_) tensors_.push_back(view.view());
    th_tensor copy = tensors_[2];
    copy.data = with_compute_copy ? compute_copy.data() + first : nullptr;
    copy.dtype_code = TH_DTYPE_BFLOAT;
    copy.dtype_bits = 16;
    return {.info = &info_,
            .master = tensors_[0],
            .gradient = tensors_[1],
            .compute_copy = copy,
            .states = tensors_.data() + 3,
            .learning_rate = learning_rate,
            .weight_decay_multiplier = weight_decay_multiplier};
  }
  th_update whole() { return piece(0, master.size()); }

  std::vector<float> master, gradient;
  std::vector<uint16_t> compute_copy;
  std::vector<std::string> state_names;
  std::vector<std::vector<float>> states;
  bool with_compute_copy = false;
  double learning_rate = 0.01, weight_decay_multiplier = 1;

 private:
  std::string name_;
  th_parameter_info info_{};
  std::vector<TensorView> views_;
  std::vector<th_tensor> tensors_;
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
