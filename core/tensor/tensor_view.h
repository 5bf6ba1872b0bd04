// Views of memory as th_tensor; they never own.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

#include "trainhost/tensor.h"

namespace trainhost {

// A contiguous tensor, on the CPU unless on_device says otherwise, with its shape beside it, so that it can be handed to a plugin. Movable
// and copyable: view() is made anew from the members each time and is valid while the object stays where it is.
class TensorView {
 public:
  TensorView() = default;
  TensorView(const float *data, std::initializer_list<int64_t> shape) : TensorView(data, TH_DTYPE_FLOAT, shape) {}
  TensorView(const int32_t *data, std::initializer_list<int64_t> shape) : TensorView(data, TH_DTYPE_INT, shape) {}

  // The same shape of 16-bit brain floats.
  static TensorView bfloat16(const void *data, std::initializer_list<int64_t> shape) {
    TensorView tensor(data, TH_DTYPE_BFLOAT, shape);
    tensor.bits_ = 16;
    return tensor;
  }

  TensorView &on_device(int32_t type, int32_t index) {
    device_type_ = type;
    device_index_ = index;
    return *this;
  }

  th_tensor view() {
    return {.data = const_cast<void *>(data_),
            .device_type = device_type_,
            .device_index = device_index_,
            .rank = rank_,
            .dtype_code = code_,
            .dtype_bits = bits_,
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
  uint8_t code_ = TH_DTYPE_FLOAT, bits_ = 32;
  int32_t device_type_ = TH_DEVICE_CPU, device_index_ = 0;
  int32_t rank_ = 0;
  std::array<int64_t, 4> shape_{};
};

}  // namespace trainhost
