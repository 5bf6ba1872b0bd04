#include "adafactor/kernel.hpp"

#include <cmath>

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void add_squares(const float *__restrict values, double *__restrict sums, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sums[i] += double{values[i]} * double{values[i]};
}

TRAINHOST_VECTORISED
void average_squares(float gradient_scale, float epsilon, float rest, const float *__restrict gradient, float *__restrict variance,
                     int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient_scale * gradient[i];
    variance[i] += rest * (g * g + epsilon - variance[i]);
  }
}

TRAINHOST_VECTORISED
void adafactor_direction(float factor, const float *__restrict gradient, const float *__restrict variance, float *__restrict direction,
                         int64_t count) {
  for (int64_t i = 0; i < count; ++i) direction[i] = factor * gradient[i] / std::sqrt(variance[i]);
}
