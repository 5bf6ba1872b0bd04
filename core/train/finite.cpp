#include "train/finite.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>

#include "device/thread_pool.h"

namespace trainhost {
namespace {

constexpr int64_t kPiece = 1 << 16;
constexpr uint32_t kMagnitude = 0x7fffffff, kInfinity = 0x7f800000;  // of the bits of a float; above infinity is NaN

bool are_finite(std::span<const float> values) {
  std::atomic<bool> finite = true;
  parallel_for(static_cast<int64_t>(values.size()), kPiece, [&](int64_t begin, int64_t end) {
    uint32_t greatest = 0;
    for (const float value : values.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)))
      greatest = std::max(greatest, std::bit_cast<uint32_t>(value) & kMagnitude);
    if (greatest >= kInfinity) finite = false;
  });
  return finite;
}

}  // namespace

std::string first_not_finite(std::span<const NamedTensor> tensors) {
  const auto found = std::ranges::find_if_not(tensors, are_finite, &NamedTensor::values);
  return found != tensors.end() ? found->name : std::string();
}

}  // namespace trainhost
