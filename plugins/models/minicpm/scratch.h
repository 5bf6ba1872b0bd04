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
  using Counts = std::array<int64_t, Parts>;  // floats of each part

  Scratch(const sdk::Host &host, const Counts &counts) : host_(host), bytes_(bytes(counts)) {
    size_t offset = 0;
    for (size_t part = 0; part < Parts; ++part) {
      offsets_[part] = offset;
      offset += aligned(counts[part]);
    }
    data_ = static_cast<float *>(host_.allocate(bytes_));
  }
  Scratch(Scratch &&other) noexcept
      : host_(other.host_), data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_), offsets_(other.offsets_) {}
  ~Scratch() {
    if (data_ != nullptr) host_.deallocate(data_, bytes_);
  }

  float *operator[](size_t part) const { return data_ + offsets_[part]; }

  // That parts of such sizes take.
  static size_t bytes(const Counts &counts) {
    size_t total = 0;
    for (const int64_t count : counts) total += aligned(count);
    return total * sizeof(float);
  }

 private:
  static size_t aligned(int64_t count) { return (static_cast<size_t>(count) + 15) / 16 * 16; }

  sdk::Host host_;
  float *data_ = nullptr;
  size_t bytes_ = 0;
  std::array<size_t, Parts> offsets_;
};

// Bytes that a unit asks of the host: kept from forward for backward, and beyond that while each of them runs.
struct MemoryUse {
  size_t saved = 0, forward = 0, backward = 0;
};

}  // namespace trainhost::minicpm
