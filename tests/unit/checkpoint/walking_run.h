// A tiny run whose updates are recorded: what averages of its checkpoints are to be compared with.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "checkpoint/checkpoint.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {

class WalkingRun {
 public:
  explicit WalkingRun(std::vector<int64_t> shape = {7, 5}, bool bfloat16_states = false) : shape_(std::move(shape)) {
    size_t size = 1;
    for (const int64_t dimension : shape_) size *= static_cast<size_t>(dimension);
    parameters_.resize(size);
    states_.resize(size);
    if (bfloat16_states) state_bits_.resize(size);
    for (size_t i = 0; i < size; ++i) parameters_[i] = unit(1, 0, i);
  }

  // The next update, of another size each time.
  void step() {
    ++step_;
    std::vector<double> &update = updates_.emplace_back();
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const float before = parameters_[i];
      parameters_[i] -= 0.1F / static_cast<float>(step_) * unit(2, step_, i);
      update.push_back(static_cast<double>(before) - static_cast<double>(parameters_[i]));
      states_[i] = unit(3, step_, i);
      if (!state_bits_.empty()) state_bits_[i] = static_cast<uint16_t>(random_bits(3, step_, i));
    }
  }

  CheckpointContents contents(std::string label = "") {
    return {.step = step_ * 100,
            .tokens = step_ * 409600,
            .label = std::move(label),
            .fingerprints = SmallRun::fingerprints(),
            .trainer_state = "{\"updates\":" + std::to_string(step_) + "}",
            .tensors = tensors()};
  }

  std::vector<NamedTensor> tensors() {
    return {{.name = "model.block.0.weight", .shape = shape_, .values = parameters_},
            {.name = "model.unused", .shape = {0, 4}, .values = {}},
            {.name = "optimizer.block.0.weight.m",
             .shape = shape_,
             .values = state_bits_.empty() ? ElementSpan(states_) : ElementSpan(state_bits_)}};
  }

  const std::vector<float> &parameters() const { return parameters_; }
  const std::vector<float> &states() const { return states_; }
  const std::vector<uint16_t> &state_bits() const { return state_bits_; }       // of bfloat16; empty: the states are float32
  const std::vector<std::vector<double>> &updates() const { return updates_; }  // each what it took from the parameters

 private:
  static float unit(uint64_t seed, uint64_t step, size_t i) {
    return static_cast<float>(static_cast<double>(random_bits(seed, step, i)) / std::ldexp(1.0, 63) - 1);
  }

  uint64_t step_ = 0;
  std::vector<int64_t> shape_;
  std::vector<float> parameters_, states_;
  std::vector<uint16_t> state_bits_;
  std::vector<std::vector<double>> updates_;
};

}  // namespace trainhost
