#include "tensors/tensor_optimizers.h"

#include "tensors/updates.h"

extern "C" __attribute__((visibility("default"))) const TensorOptimizers *trainhost_tensor_optimizers() {
  using namespace tensors;
  static constexpr TensorOptimizers optimizers{adam,      sgd,           adagrad,         lion, ademamix,    lamb,
                                               adafactor, schedule_free, swap_with_state, muon, multiply_add};
  return &optimizers;
}
