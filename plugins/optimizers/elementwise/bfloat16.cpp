#include "elementwise/bfloat16.hpp"

#include <bit>

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void round_to_bfloat16(const float *__restrict values, uint16_t *__restrict out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    const uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const uint32_t quiet_nan = bits >> 16 | 0x40;
    const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
    out[i] = static_cast<uint16_t>(is_nan ? quiet_nan : nearest);
  }
}
