// What every optimizer refuses before it touches anything.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "trainhost/cpp/optimizer.hpp"

namespace elementwise {

inline int64_t element_count(const th_tensor &tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
  return count;
}

inline std::string shape_text(const th_tensor &tensor) {
  std::string text = "[";
  for (int32_t i = 0; i < tensor.rank; ++i) text += (i == 0 ? "" : ", ") + std::to_string(tensor.shape[i]);
  return text + "]";
}

inline bool same_shape(const th_tensor &left, const th_tensor &right) {
  return left.rank == right.rank && std::equal(left.shape, left.shape + left.rank, right.shape);
}

inline bool contiguous(const th_tensor &tensor) {
  if (tensor.strides == nullptr) return true;
  int64_t stride = 1;
  for (int32_t i = tensor.rank - 1; i >= 0; stride *= tensor.shape[i--]) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != stride) return false;
  }
  return true;
}

inline std::string device_text(const th_tensor &tensor) {
  if (tensor.device_type == TH_DEVICE_CPU) return "the CPU";
  return (tensor.device_type == TH_DEVICE_CUDA ? "CUDA device " : "a device of type " + std::to_string(tensor.device_type) + ", number ") +
         std::to_string(tensor.device_index);
}

inline bool same_device(const th_tensor &left, const th_tensor &right) {
  return left.device_type == right.device_type && (left.device_type == TH_DEVICE_CPU || left.device_index == right.device_index);
}

// One tensor of an update: it must be on the device of `place` and have the shape of `like`.
inline void check_tensor(const th_update &update, std::string_view what, const th_tensor &tensor, const th_tensor &place,
                         const th_tensor &like, uint8_t dtype_code, uint8_t dtype_bits) {
  const auto refuse = [&](const std::string &found, const std::string &expected) {
    throw trainhost::sdk::Failure(TH_INVALID, std::string(what) + " of parameter \"" +
                                                  std::string(trainhost::sdk::view(update.info->name)) + "\" " + found + "; expected " +
                                                  expected);
  };
  if (tensor.device_type != TH_DEVICE_CPU && tensor.device_type != TH_DEVICE_CUDA) {
    refuse("is on " + device_text(tensor), "the CPU or a CUDA device");
  }
  if (!same_device(tensor, place)) refuse("is on " + device_text(tensor), device_text(place) + ", as the first parameter's master");
  if (tensor.dtype_code != dtype_code || tensor.dtype_bits != dtype_bits || tensor.dtype_lanes != 1) {
    refuse("has dtype code " + std::to_string(tensor.dtype_code) + " with " + std::to_string(tensor.dtype_bits) + " bits",
           "code " + std::to_string(dtype_code) + " with " + std::to_string(dtype_bits) + " bits");
  }
  if (!same_shape(tensor, like)) {
    refuse("has shape " + shape_text(tensor), shape_text(like) + (&like == &update.master ? " as its master" : ""));
  }
  if (!contiguous(tensor)) refuse("is not contiguous", "row-major without gaps");
  if (tensor.data == nullptr && element_count(tensor) != 0) refuse("has no data", "memory for shape " + shape_text(tensor));
}

// The master and the compute copy, where there is one. place: the first parameter's master.
inline void check_weights(const th_update &update, const th_tensor &place) {
  check_tensor(update, "the master", update.master, place, update.master, TH_DTYPE_FLOAT, 32);
  if (update.compute_copy.data != nullptr) {
    check_tensor(update, "the compute copy", update.compute_copy, place, update.master, TH_DTYPE_BFLOAT, 16);
  }
}

// All but the states.
inline void check_parameter(const th_update &update, const th_tensor &place) {
  check_weights(update, place);
  check_tensor(update, "the gradient", update.gradient, place, update.master, TH_DTYPE_FLOAT, 32);
}

// States like the parameter. names: of the first ones, in order.
inline void check_states(const th_update &update, const th_tensor &place, std::span<const std::string_view> names,
                         trainhost::sdk::StateType type = trainhost::sdk::StateType::kFloat32) {
  const bool bfloat16 = type == trainhost::sdk::StateType::kBfloat16;
  for (size_t i = 0; i < names.size(); ++i) {
    check_tensor(update, "state " + std::string(names[i]), update.states[i], place, update.master,
                 bfloat16 ? TH_DTYPE_BFLOAT : TH_DTYPE_FLOAT, bfloat16 ? 16 : 32);
  }
}

// Throws TH_INVALID naming the first parameter whose tensors are not as kinds/optimizer.h says. states: the names, in order.
inline void check_updates(std::span<const th_update> updates, std::span<const std::string_view> states,
                          trainhost::sdk::StateType type = trainhost::sdk::StateType::kFloat32) {
  for (const th_update &update : updates) {
    check_parameter(update, updates.front().master);
    check_states(update, updates.front().master, states, type);
  }
}

// The schedule's momentum where it gives one, else the optimizer's own.
inline double momentum_of(const th_update_call &call, double own) {
  if (std::isnan(call.momentum)) return own;
  if (call.momentum >= 0 && call.momentum < 1) return call.momentum;
  throw trainhost::sdk::Failure(TH_INVALID,
                                "the schedule gives momentum " + std::to_string(call.momentum) + "; expected a number in [0, 1)");
}

// For optimizers without a momentum that a schedule could give.
inline void refuse_momentum(const th_update_call &call) {
  if (std::isnan(call.momentum)) return;
  throw trainhost::sdk::Failure(TH_INVALID, "the schedule gives a momentum, but this optimizer averages no gradients; take one that does");
}

}  // namespace elementwise
