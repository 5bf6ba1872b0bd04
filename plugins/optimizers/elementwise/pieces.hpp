// All elements of all parameters as one range for the thread pool.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "elementwise/bfloat16.hpp"
#include "elementwise/checks.hpp"

namespace elementwise {

constexpr int64_t kGrain = 1 << 15;  // elements that are worth waking a thread for
constexpr int64_t kBlock = 1 << 11;  // elements whose tensors stay in the first-level caches together

template <class Item>
Item *items(const th_tensor &tensor) {
  return reinterpret_cast<Item *>(static_cast<std::byte *>(tensor.data) + tensor.byte_offset);
}

// The compute copy of elements [first, first + count), where there is one.
inline void write_compute_copy(const th_update &update, int64_t first, int64_t count) {
  if (update.compute_copy.data == nullptr) return;
  round_to_bfloat16(items<float>(update.master) + first, items<uint16_t>(update.compute_copy) + first, count);
}

// kernel(update, first, count) for elements [first, first + count) of each parameter, in blocks; then the block's compute copy is
// written while it is in cache. All blocks are independent; kernel must not throw.
template <class Kernel>
void for_each_block(const trainhost::sdk::Host &host, std::span<const th_update> updates, Kernel &&kernel) {
  int64_t total = 0;
  for (const th_update &update : updates) total += element_count(update.master);

  host.parallel_for(total, kGrain, [&](int64_t begin, int64_t end) {
    int64_t offset = 0;  // of the parameter in the range
    for (const th_update &update : updates) {
      const int64_t count = element_count(update.master);
      const int64_t last = std::min(end - offset, count);
      for (int64_t first = std::max<int64_t>(begin - offset, 0); first < last; first += kBlock) {
        const int64_t length = std::min(kBlock, last - first);
        kernel(update, first, length);
        write_compute_copy(update, first, length);
      }
      offset += count;
    }
  });
}

}  // namespace elementwise
