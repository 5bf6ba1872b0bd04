// Items in the memory of a device, filled from and read to the CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "device/device.h"
#include "trainhost/tensor.h"

namespace trainhost {

// `count` items in a device's memory, which outlives them. Movable.
class DeviceArray {
 public:
  enum class Type { kFloat32, kBfloat16, kInt32 };
  DeviceArray(Device &device, Type type, size_t count);
  DeviceArray(DeviceArray &&other) noexcept;
  ~DeviceArray();

  void upload(std::span<const float> values);  // rounded to nearest even where bfloat16
  void upload(std::span<const int32_t> values);
  void download(std::span<float> values) const;
  std::vector<uint16_t> bits() const;  // of bfloat16 items
  const void *data() const { return data_; }
  // Valid while `shape` is.
  th_tensor view(std::span<int64_t> shape) const;

 private:
  size_t bytes() const { return count_ * (type_ == Type::kBfloat16 ? 2 : 4); }

  Device *device_;
  Type type_;
  size_t count_;
  void *data_;
};

}  // namespace trainhost
