// All parameters, gradients and optimizer states of the process, in flat buffers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "device/buffer.h"
#include "plugin_host/adapters/model.h"
#include "plugin_host/adapters/optimizer.h"

namespace trainhost {

// Parameters lie in unit order, each beginning on a multiple of 64 bytes; gradients likewise. Views stay valid as long as the store.
// One thread.
class ParameterStore {
 public:
  // Float32 parameters, zero; gradients and states only with an optimizer (null: for evaluation and generation). The model must
  // outlive the store. Errors: the optimizer's; kInternal when memory runs out, saying how much was needed.
  static Result<ParameterStore> create(const Model &model, const Optimizer *optimizer);

  // Fills the parameters as the model describes, from the counter-based generator: a function of (seed, parameter index, element).
  void initialise(uint64_t seed);

  // The parameters of a unit in the order of its info, and their gradients.
  const th_tensor *parameters(uint32_t unit) const { return units_[unit].parameters.data(); }
  th_tensor *gradients(uint32_t unit) { return units_[unit].gradients.data(); }

  // Modes for the backward of a unit: overwrite where the parameter has no gradient yet since the last reset, else add; afterwards
  // each has one.
  const uint32_t *gradient_modes(uint32_t unit);
  void reset_gradients();

  // Euclidean norm of the whole gradient, in double precision; does not depend on the number of threads.
  double gradient_norm() const;

  // One entry per parameter for Optimizer::update, with the given rates.
  std::span<const th_update> updates(double learning_rate, double weight_decay_multiplier);

  // What a checkpoint holds: "model.NAME" and "optimizer.NAME.STATE".
  std::vector<NamedTensor> tensors();

  uint64_t parameter_count() const { return elements_; }
  uint64_t bytes() const { return (parameters_.size() + gradients_.size() + states_.size()) * sizeof(float); }

 private:
  ParameterStore() = default;
  struct State {
    std::string name;
    std::vector<int64_t> shape;
    size_t offset = 0, count = 0;
  };
  struct Entry {
    th_parameter_info info;
    size_t offset = 0, count = 0;
    std::vector<State> states;
    std::vector<th_tensor> state_views;
    bool has_gradient = false;
  };
  struct Unit {
    std::vector<uint32_t> indices;
    std::vector<th_tensor> parameters, gradients;
    std::vector<uint32_t> modes;
  };
  void lay_out(const Model &model);
  Result<> lay_out_states(const Optimizer &optimizer);
  void make_views(const Model &model);

  std::vector<Entry> entries_;
  std::vector<Unit> units_;
  std::vector<th_update> updates_;
  Buffer<float> parameters_, gradients_, states_;
  uint64_t elements_ = 0;
};

}  // namespace trainhost
