// Writing by index without looking at the indices on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainhost::minicpm {

// target[index[i]] = values[i], or += where accumulate. index [n] int32 or int64 within the first dimension of target, which the caller
// knows: checking them would wait for the device. On CUDA accumulating sorts by index, so that the sums have one order.
void index_put(const at::Tensor &target, const at::Tensor &index, const at::Tensor &values, bool accumulate);

}  // namespace trainhost::minicpm
