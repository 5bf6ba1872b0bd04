// A block of tensor memory with an owner.
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <utility>

#include "device/device.h"

namespace trainhost {

// `count` items of a trivial type, contents undefined, aligned to 64 bytes, in the memory of a device that outlives it. Throws
// std::bad_alloc when there is no memory. Movable. The items of a GPU's buffer are for the device's operations only.
template <class Item>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) : Buffer(cpu_device(), count) {}
  Buffer(Device &device, size_t count)
      : device_(&device), data_(static_cast<Item *>(device.allocate(count * sizeof(Item)))), count_(count) {
    if (data_ == nullptr && count > 0) throw std::bad_alloc();
  }
  Buffer(Buffer &&other) noexcept
      : device_(other.device_), data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Buffer &operator=(Buffer &&other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) device_->deallocate(data_, count_ * sizeof(Item));
  }

  Item *data() { return data_; }
  const Item *data() const { return data_; }
  size_t size() const { return count_; }
  std::span<Item> items() { return {data_, count_}; }
  std::span<const Item> items() const { return {data_, count_}; }

 private:
  Device *device_ = nullptr;
  Item *data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace trainhost
