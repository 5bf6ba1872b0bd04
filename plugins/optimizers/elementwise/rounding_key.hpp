// What rounding at random depends on beside the numbers themselves.
#pragma once

#include <cstddef>
#include <cstdint>

struct RoundingKey {
  uint32_t value = 0, salt = 0;
};

// Of the update with this number, for its state with this one: SplitMix64 of both (Steele, Lea, Flood 2014).
inline RoundingKey rounding_key(uint64_t step, size_t state) {
  constexpr uint64_t kStates = 64;
  uint64_t x = (step * kStates + state + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  x ^= x >> 31;
  return {static_cast<uint32_t>(x), static_cast<uint32_t>(x >> 32)};
}
