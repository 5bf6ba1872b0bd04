#include "base/random.h"

#include <cmath>
#include <numbers>

namespace trainhost {

std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t block) {
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(stream),
                               static_cast<uint32_t>(stream >> 32)};
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * c[0], product1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(product1 >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
}

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index) {
  const auto words = philox(seed, stream, index >> 1);
  const size_t at = (index & 1) * 2;
  return uint64_t{words[at + 1]} << 32 | words[at];
}

double random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  return static_cast<double>(random_bits(seed, stream, index) >> 11) * 0x1p-53;
}

void fill_uniform(uint64_t seed, uint64_t stream, uint64_t first, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t index = first + i;
    out[i] = static_cast<float>(philox(seed, stream, index >> 2)[index & 3] >> 8) * 0x1p-24f;
  }
}

namespace {

// Values 4 * block .. 4 * block + 3 of a stream: two Box-Muller pairs from one block of random words.
std::array<float, 4> four_normals(uint64_t seed, uint64_t stream, uint64_t block) {
  const auto words = philox(seed, stream, block);
  std::array<float, 4> values;
  for (size_t pair = 0; pair < 4; pair += 2) {
    const double radius = std::sqrt(-2.0 * std::log((words[pair] + 1.0) * 0x1p-32));
    const double angle = 2.0 * std::numbers::pi * words[pair + 1] * 0x1p-32;
    values[pair] = static_cast<float>(radius * std::cos(angle));
    values[pair + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return values;
}

}  // namespace

void fill_normal(uint64_t seed, uint64_t stream, uint64_t first, std::span<float> out) {
  for (size_t i = 0; i < out.size();) {
    const auto values = four_normals(seed, stream, (first + i) >> 2);
    for (size_t at = (first + i) & 3; at < 4 && i < out.size(); ++at) out[i++] = values[at];
  }
}

}  // namespace trainhost
