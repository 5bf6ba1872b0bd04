#include "data/permutation.h"

#include <algorithm>
#include <bit>

#include "base/random.h"

namespace trainhost {
namespace {

// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// Halves below this are too few for the network to reach all orders alike.
constexpr uint32_t kLeastHalfBits = 3;

}  // namespace

Permutation::Permutation(uint64_t size, uint64_t seed, uint64_t stream, uint64_t number)
    : size_(size), half_bits_(std::max<uint32_t>(kLeastHalfBits, (std::bit_width(size > 0 ? size - 1 : 0) + 1) / 2)) {
  for (size_t round = 0; round < kRounds; ++round) keys_[round] = random_bits(seed, stream, number * kRounds + round);
}

uint64_t Permutation::operator()(uint64_t i) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = i >> half_bits_, right = i & mask;
    for (const uint64_t key : keys_) {
      const uint64_t next = left ^ (mix(right + key) & mask);
      left = right;
      right = next;
    }
    i = left << half_bits_ | right;
  } while (i >= size_);
  return i;
}

}  // namespace trainhost
