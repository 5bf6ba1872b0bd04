#include "elementwise/bfloat16.hpp"

#include <bit>

#include "elementwise/vectorised.hpp"

namespace {

bool is_nan(uint32_t bits) { return (bits & 0x7fffffff) > 0x7f800000; }
uint32_t quiet_nan(uint32_t bits) { return bits >> 16 | 0x40; }

}  // namespace

TRAINHOST_VECTORISED
void round_to_bfloat16(const float *__restrict values, uint16_t *__restrict out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    const uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    out[i] = static_cast<uint16_t>(is_nan(bits) ? quiet_nan(bits) : nearest);
  }
}

TRAINHOST_VECTORISED
void widen_bfloat16(const uint16_t *__restrict bits, float *__restrict values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = std::bit_cast<float>(uint32_t{bits[i]} << 16);
}

// The lower half of the bits carries into the upper one if a number drawn from [0, 2^16) is added. The hash is that of C. Wellons with
// multiplications of low bias (hash-prospector, 2018), once over the value and once more with the salt.
TRAINHOST_VECTORISED
void round_stochastically(const RoundingKey &key, const float *__restrict values, const float *__restrict salts, uint16_t *__restrict out,
                          int64_t count) {
  const RoundingKey k = key;  // a copy cannot alias what the loop writes
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    uint32_t hash = bits ^ k.value;
    hash = (hash ^ hash >> 16) * 0x7feb352d;
    hash = (hash ^ hash >> 15) + (std::bit_cast<uint32_t>(salts[i]) ^ k.salt);
    hash = (hash ^ hash >> 16) * 0x7feb352d;
    hash = (hash ^ hash >> 15) * 0x846ca68b;
    const uint32_t drawn = (bits + (hash >> 16)) >> 16;
    out[i] = static_cast<uint16_t>(is_nan(bits) ? quiet_nan(bits) : drawn);
  }
}
