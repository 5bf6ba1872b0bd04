// A device's arithmetic by LibTorch's operators: one implementation for every device that LibTorch knows, so that tests run it on CPUs.
#pragma once

#include <cstdint>
#include <span>

#include <c10/core/Device.h>

#include "device/device.h"

namespace trainhost {

// As Device has them; enqueued in the current stream of `device`, where the pointers' memory is. May throw c10::Error.
class TensorOperations {
 public:
  explicit TensorOperations(c10::Device device) : device_(device) {}

  void fill(float *values, float value, size_t count) const;
  void add(float *to, const float *from, size_t count) const;
  void subtract_from(float *to, const float *from, size_t count) const;
  void round_to_bfloat16(uint16_t *out, const float *values, size_t count) const;
  // Runs of adjacent blocks of one length are taken together. Needs up to 64 MB of the device's memory, and waits once.
  void sum_products(const float *a, const float *b, std::span<const FloatRange> blocks, std::span<double> host_sums) const;

 private:
  c10::Device device_;
};

}  // namespace trainhost
