// Views of host memory as th_tensor; they never own.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

#include "trainhost/tensor.h"

namespace trainhost {

// A contiguous tensor on the CPU with its shape beside it, so that it can be handed to a plugin. Movable and copyable: view() is made
// anew from the members each time and is valid while the object stays where it is.
class TensorView {
 public:
  TensorView() = default;
  TensorView(const float *data, std::initializer_list<int64_t> shape) : TensorView(data, TH_DTYPE_FLOAT, shape) {}
  TensorView(const int32_t *data, std::initializer_list<int64_t> shape) : TensorView(data, TH_DTYPE_INT, shape) {}

  th_tensor view() {
    return {.data = const_cast<void *>(data_),
            .device_type = TH_DEVICE_CPU,
            .device_index = 0,
            .rank = rank_,
            .dtype_code = code_,
            .dtype_bits = 32,
            .dtype_lanes = 1,
            .shape = shape_.data(),
            .strides = nullptr,
            .byte_offset = 0};
  }

 private:
  TensorView(const void *data, uint8_t code, std::initializer_list<int64_t> shape)
      : data_(data), code_(code), rank_(static_cast<int32_t>(shape.size())) {
    std::copy(shape.begin(), shape.end(), shape_.begin());
  }
  const void *data_ = nullptr;
  uint8_t code_ = TH_DTYPE_FLOAT;
  int32_t rank_ = 0;
  std::array<int64_t, 4> shape_{};
};

}  // namespace trainhost
