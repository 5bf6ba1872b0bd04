#include "lion/kernel.hpp"

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void lion_kernel(const LionStep &step, float *__restrict master, const float *__restrict gradient, float *__restrict exp_avg,
                 int64_t count) {
  const LionStep s = step;  // a copy cannot alias what the loop writes
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    const float u = s.beta1 * exp_avg[i] + s.beta1_rest * g;
    const float sign = (u > 0 ? 1.0f : 0.0f) - (u < 0 ? 1.0f : 0.0f);
    exp_avg[i] += s.beta2_rest * (g - exp_avg[i]);
    master[i] = s.keep * master[i] - s.learning_rate * sign;
  }
}
