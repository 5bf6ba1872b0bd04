// Between float32 and bfloat16, whose bits are the upper half of a float32's.
#pragma once

#include <cstdint>

#include "elementwise/rounding_key.hpp"

// out[i] = values[i] rounded to the nearest bfloat16, ties to even; NaN stays NaN.
void round_to_bfloat16(const float *values, uint16_t *out, int64_t count);

// values[i] = the number with these bits.
void widen_bfloat16(const uint16_t *bits, float *values, int64_t count);

// out[i] = one of the two bfloat16 numbers between which values[i] lies, the nearer one the more probably: the mean is values[i]. What is a
// bfloat16 stays what it is, NaN stays NaN. Beyond the largest bfloat16 the upper neighbour is infinity. Drawn by a hash of key, values[i]
// and salts[i].
void round_stochastically(const RoundingKey &key, const float *values, const float *salts, uint16_t *out, int64_t count);
