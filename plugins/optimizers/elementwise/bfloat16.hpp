// The compute copy of a parameter.
#pragma once

#include <cstdint>

// out[i] = values[i] rounded to the nearest bfloat16, ties to even; NaN stays NaN.
void round_to_bfloat16(const float *values, uint16_t *out, int64_t count);
