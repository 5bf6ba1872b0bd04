#include "train/finite.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <limits>

#include "device/thread_pool.h"

namespace trainhost {
namespace {

constexpr int64_t kPiece = 1 << 16;

// infinity: the bits of that number, above which NaN is.
template <class Bits, class Item>
bool are_finite(std::span<const Item> values, Bits infinity) {
  constexpr Bits kMagnitude = std::numeric_limits<Bits>::max() >> 1;
  std::atomic<bool> finite = true;
  parallel_for(static_cast<int64_t>(values.size()), kPiece, [&](int64_t begin, int64_t end) {
    Bits greatest = 0;
    for (const Item value : values.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)))
      greatest = std::max(greatest, static_cast<Bits>(std::bit_cast<Bits>(value) & kMagnitude));
    if (greatest >= infinity) finite = false;
  });
  return finite;
}

bool is_finite(const NamedTensor &tensor) {
  const ElementSpan &values = tensor.values;
  return values.type() == ElementType::kBfloat16 ? are_finite<uint16_t, uint16_t>(values.bfloat16_bits(), 0x7f80)
                                                 : are_finite<uint32_t, float>(values.floats(), 0x7f800000);
}

}  // namespace

std::string first_not_finite(std::span<const NamedTensor> tensors) {
  const auto found = std::ranges::find_if_not(tensors, is_finite);
  return found != tensors.end() ? found->name : std::string();
}

}  // namespace trainhost
