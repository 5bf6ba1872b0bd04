// Memory of a device as a LibTorch tensor that does not own it.
#pragma once

#include <cstddef>
#include <initializer_list>

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

namespace trainhost {

// LibTorch has no read-only tensors: callers do not write through a `memory` that is const. The device is given because LibTorch would ask
// the driver whose pointer it is.
inline at::Tensor borrowed_tensor(const void *memory, std::initializer_list<int64_t> shape, at::ScalarType type, c10::Device device) {
  return at::for_blob(const_cast<void *>(memory), shape)
      .options(at::TensorOptions(type).device(device))
      .target_device(device)
      .make_tensor();
}

}  // namespace trainhost
