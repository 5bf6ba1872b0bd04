#include "support/device_under_test.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "device/cuda_driver.h"
#include "device/cuda_module.h"

namespace trainhost::test {

std::vector<float> many_floats(size_t count) {
  std::mt19937 random(17);
  std::vector<float> values(count);
  for (float &value : values) {
    const auto bits = static_cast<int32_t>(random());
    value = std::ldexp(static_cast<float>(bits), static_cast<int>(random() % 40) - 50);
  }
  return values;
}

std::vector<float> hard_to_round() {
  std::vector<float> values;
  for (const uint32_t bits : {0x3f808000u, 0x3f818000u, 0x3f807fffu, 0x3f808001u, 0x3f817fffu, 0x3f818001u, 0x00000001u, 0x00008000u,
                              0x00018000u, 0x007fffffu, 0x7f7fffffu, 0x7f7f7fffu, 0x7f800000u, 0x00000000u}) {
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(std::bit_cast<float>(bits | 0x80000000u));
  }
  return values;
}

std::vector<FloatRange> blocks_of(size_t count) {
  std::vector<FloatRange> blocks;
  size_t begin = 0;
  for (size_t tensor = 0; begin < count; ++tensor) {
    const size_t end = std::min(count, begin + 1 + tensor * tensor * 977);
    for (; begin + 4096 <= end; begin += 4096) blocks.push_back({begin, begin + 4096});
    blocks.push_back({begin, end});
    begin = end + tensor % 3;
  }
  return blocks;
}

std::string no_gpu() {
  if (const auto driver = cuda_driver(); !driver) return driver.error().message;
  if (const auto module = cuda_module(); !module) return module.error().message;
  return {};
}

}  // namespace trainhost::test
