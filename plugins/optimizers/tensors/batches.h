// Parameters that share a learning rate and a weight decay are updated together by LibTorch's fused optimizers or its operators on lists
// of tensors. Gradients are scaled before, into memory of a bounded size; compute copies are rounded after.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/from_blob.h>

#include "libtorch/tensor.h"
#include "tensors/moments.h"
#include "trainhost/kinds/optimizer.h"

namespace tensors {

using trainhost::libtorch::check_device;
using trainhost::libtorch::device_of;
using trainhost::libtorch::with_operators;
using trainhost::libtorch::wrap;

constexpr int64_t kBatch = int64_t{32} << 20;  // elements whose scaled gradients exist at a time
constexpr size_t kMostStates = 3;

// Runs of elements with the same learning rate and weight decay; one entry of each list for a run.
struct Batch {
  Batch(double learning_rate, double weight_decay_multiplier)
      : learning_rate(learning_rate), weight_decay_multiplier(weight_decay_multiplier) {}

  double learning_rate, weight_decay_multiplier;
  std::vector<at::Tensor> masters, gradients, unscaled_gradients;
  std::array<std::vector<at::Tensor>, kMostStates> states;  // in a step as float32
  std::vector<at::Tensor> copies, copied;                   // bfloat16 to be written, and the masters it is rounded from
  int64_t elements = 0;

  // Elements [first, first + count) of an update.
  void add(const th_update &update, size_t state_count, int64_t total, int64_t first, int64_t count) {
    const auto run = [&](const th_tensor &tensor) { return wrap(tensor, {total}).narrow(0, first, count); };
    masters.push_back(run(update.master));
    unscaled_gradients.push_back(run(update.gradient));
    for (size_t i = 0; i < state_count; ++i) states[i].push_back(run(update.states[i]));
    if (update.compute_copy.data != nullptr) {
      copies.push_back(run(update.compute_copy));
      copied.push_back(masters.back());
    }
    elements += count;
  }
};

inline std::vector<Batch> batches_of(std::span<const th_update> updates, size_t state_count) {
  std::map<std::pair<double, double>, std::vector<Batch>> groups;
  for (const th_update &update : updates) {
    std::vector<Batch> &group = groups[{update.learning_rate, update.weight_decay_multiplier}];
    int64_t total = 1;
    for (int32_t i = 0; i < update.master.rank; ++i) total *= update.master.shape[i];
    for (int64_t first = 0, count = 0; first < total; first += count) {
      if (group.empty() || group.back().elements == kBatch) {
        group.emplace_back(update.learning_rate, update.weight_decay_multiplier);
      }
      count = std::min(total - first, kBatch - group.back().elements);
      group.back().add(update, state_count, total, first, count);
    }
  }
  std::vector<Batch> batches;
  for (auto &[key, group] : groups) std::ranges::move(group, std::back_inserter(batches));
  return batches;
}

inline at::Tensor floats(const float *data, at::IntArrayRef shape, at::Device device) {
  return at::for_blob(const_cast<float *>(data), shape)
      .options(at::TensorOptions(at::kFloat).device(device))
      .target_device(device)
      .make_tensor();
}

// step(batch) for all of them, with gradients scaled, then the compute copies.
template <class Step>
void for_each_batch(const th_update_call &call, std::span<const th_update> updates, size_t state_count, Step &&step) {
  if (updates.empty()) return;
  const at::Device device = device_of(updates.front().master);
  check_device(device);
  with_operators(device, call.stream, [&] {
    const at::Tensor scale = floats(call.gradient_scale, {}, device);
    for (Batch &batch : batches_of(updates, state_count)) {
      batch.gradients = at::_foreach_mul(batch.unscaled_gradients, scale);
      const auto stored = batch.states;
      for (auto &states : batch.states) std::ranges::transform(states, states.begin(), as_float32);
      const auto computed = batch.states;
      step(batch);
      for (size_t state = 0; state < state_count; ++state) {
        const RoundingKey key = rounding_key(call.step, state);
        for (size_t i = 0; i < stored[state].size(); ++i) store(stored[state][i], computed[state][i], batch.unscaled_gradients[i], key);
      }
      if (!batch.copies.empty()) at::_foreach_copy_(batch.copies, batch.copied);
    }
  });
}

}  // namespace tensors
