// A shuffle that is computed, not stored: entry i of a random order of [0, size) at any i, from the key alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace trainhost {

// A Feistel network over the smallest even number of bits that holds `size`, walked until it lands inside (Black and Rogaway 2002,
// "Ciphers with arbitrary finite domains"). One permutation for each (seed, stream, number). Immutable; many threads at once.
class Permutation {
 public:
  Permutation(uint64_t size, uint64_t seed, uint64_t stream, uint64_t number);

  // A bijection of [0, size) for i < size. Takes 4 rounds of the network on average at most, for sizes of 16 and more.
  uint64_t operator()(uint64_t i) const;

 private:
  static constexpr size_t kRounds = 8;
  uint64_t size_;
  uint32_t half_bits_;
  std::array<uint64_t, kRounds> keys_;
};

}  // namespace trainhost
