// What Adafactor does to a run of elements.
#pragma once

#include <cstdint>

// sums[i] += values[i]^2.
void add_squares(const float *values, double *sums, int64_t count);

// variance += rest ((gradient_scale x gradient)^2 + epsilon - variance).
void average_squares(float gradient_scale, float epsilon, float rest, const float *gradient, float *variance, int64_t count);

// direction = factor x gradient / sqrt(variance).
void adafactor_direction(float factor, const float *gradient, const float *variance, float *direction, int64_t count);
