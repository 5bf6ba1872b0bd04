// The way to LibTorch: on CUDA, and for products of matrices.
#pragma once

#include "elementwise/checks.hpp"
#include "tensors/tensor_optimizers.h"

namespace elementwise {

// Whether updates that check_updates has passed are on CUDA.
inline bool on_cuda(std::span<const th_update> updates) { return !updates.empty() && updates.front().master.device_type == TH_DEVICE_CUDA; }

// Opens the library beside the plugins' folder at the first call; it stays open. Throws Failure TH_UNSUPPORTED where it cannot be.
const TensorOptimizers &tensor_optimizers();

}  // namespace elementwise
