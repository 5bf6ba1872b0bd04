// Memory from the host for one purpose: a block cut into parts.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <utility>

#include "trainhost/cpp/plugin.hpp"

namespace trainhost::minicpm {

// `Parts` arrays of float32 in one block of the host's, each aligned to 64 bytes; contents undefined; given back on destruction.
// Throws std::bad_alloc. Movable.
template <size_t Parts>
class Scratch {
 public:
  Scratch(const sdk::Host &host, const std::array<int64_t, Parts> &counts) : host_(host) {
    size_t total = 0;
    for (size_t part = 0; part < Parts; ++part) {
      offsets_[part] = total;
      total += (static_cast<size_t>(counts[part]) + 15) / 16 * 16;
    }
    bytes_ = total * sizeof(float);
    data_ = static_cast<float *>(host_.allocate(bytes_));
  }
  Scratch(Scratch &&other) noexcept
      : host_(other.host_), data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_), offsets_(other.offsets_) {}
  ~Scratch() {
    if (data_ != nullptr) host_.deallocate(data_, bytes_);
  }

  float *operator[](size_t part) const { return data_ + offsets_[part]; }

 private:
  sdk::Host host_;
  float *data_ = nullptr;
  size_t bytes_ = 0;
  std::array<size_t, Parts> offsets_;
};

}  // namespace trainhost::minicpm
