#include "support/device_array.h"

#include <new>
#include <utility>

namespace trainhost {

DeviceArray::DeviceArray(Device &device, Type type, size_t count)
    : device_(&device), type_(type), count_(count), data_(device.allocate(bytes())) {
  if (data_ == nullptr) throw std::bad_alloc();
}
DeviceArray::DeviceArray(DeviceArray &&other) noexcept
    : device_(other.device_), type_(other.type_), count_(other.count_), data_(std::exchange(other.data_, nullptr)) {}
DeviceArray::~DeviceArray() {
  if (data_ != nullptr) device_->deallocate(data_, bytes());
}

void DeviceArray::upload(std::span<const float> values) {
  if (type_ == Type::kFloat32) return device_->upload(data_, values.data(), bytes());
  std::vector<uint16_t> rounded(count_);
  cpu_device().round_to_bfloat16(rounded.data(), values.data(), count_);
  device_->upload(data_, rounded.data(), bytes());
}

void DeviceArray::upload(std::span<const int32_t> values) { device_->upload(data_, values.data(), bytes()); }

void DeviceArray::download(std::span<float> values) const { device_->download(values.data(), data_, bytes()); }

std::vector<uint16_t> DeviceArray::bits() const {
  std::vector<uint16_t> result(count_);
  device_->download(result.data(), data_, bytes());
  return result;
}

th_tensor DeviceArray::view(std::span<int64_t> shape) const {
  const uint8_t code = type_ == Type::kInt32 ? TH_DTYPE_INT : type_ == Type::kBfloat16 ? TH_DTYPE_BFLOAT : TH_DTYPE_FLOAT;
  const uint8_t bits = type_ == Type::kBfloat16 ? 16 : 32;
  return {data_, device_->type(), device_->index(), static_cast<int32_t>(shape.size()), code, bits, 1, shape.data(), nullptr, 0};
}

}  // namespace trainhost
