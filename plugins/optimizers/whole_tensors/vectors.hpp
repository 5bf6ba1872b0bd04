// Long vectors of floats.
#pragma once

#include <cstdint>

// In double, in sixteen sums that are added in their order: the same bits on every machine.
double sum_of_squares(const float *values, int64_t count);

// values[i] *= factor.
void scale(float *values, float factor, int64_t count);

// master[i] = keep x master[i] - length x direction[i].
void step_along(float keep, float *master, float length, const float *direction, int64_t count);
