// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").
// A value is a function of (seed, stream, index), never of history, so resuming or another cut of the work replays it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace trainhost {

// Streams keep purposes apart; the low bits number what a purpose has many of (parameters, sources).
enum class RandomPurpose : uint64_t { kInitialisation = 1, kShuffle = 2, kHeldOut = 3, kSampling = 4, kModel = 5 };
constexpr uint64_t random_stream(RandomPurpose purpose, uint64_t number) { return static_cast<uint64_t>(purpose) << 48 | number; }

// One block of Philox4x32-10: four 32-bit words for the counter (block, stream) under the key `seed`.
std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t block);

// A uniform 64-bit value; value number `index` of the stream.
uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index);
// Uniform in [0, 1) with 53 bits.
double random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

// out[i] = value number first + i of the stream. Uniform in [0, 1) with 24 bits; normal by Box and Muller, mean 0, deviation 1.
void fill_uniform(uint64_t seed, uint64_t stream, uint64_t first, std::span<float> out);
void fill_normal(uint64_t seed, uint64_t stream, uint64_t first, std::span<float> out);

}  // namespace trainhost
