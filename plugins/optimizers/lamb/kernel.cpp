#include "lamb/kernel.hpp"

#include <cmath>

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void lamb_moments(const LambStep &step, const float *__restrict gradient, float *__restrict exp_avg, float *__restrict exp_avg_sq,
                  int64_t count) {
  const LambStep s = step;  // a copy cannot alias what the loop writes
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    exp_avg[i] += s.beta1_rest * (g - exp_avg[i]);
    exp_avg_sq[i] = s.beta2 * exp_avg_sq[i] + s.beta2_rest * (g * g);
  }
}

TRAINHOST_VECTORISED
void lamb_direction(const LambStep &step, const float *__restrict master, const float *__restrict exp_avg,
                    const float *__restrict exp_avg_sq, float *__restrict direction, int64_t count) {
  const LambStep s = step;
  for (int64_t i = 0; i < count; ++i) {
    direction[i] = exp_avg[i] / (std::sqrt(exp_avg_sq[i]) + s.epsilon) + s.weight_decay * master[i];
  }
}
