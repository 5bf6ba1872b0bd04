#include "elementwise/adam_kernel.hpp"

#include <cmath>

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void adam_kernel(const AdamStep &step, float *__restrict master, const float *__restrict gradient, float *__restrict exp_avg,
                 float *__restrict exp_avg_sq, int64_t count) {
  const AdamStep s = step;  // a copy cannot alias what the loop writes
  for (int64_t i = 0; i < count; ++i) {
    const float decay = s.coupled_decay != 0 ? s.coupled_decay * master[i] : 0;  // not of AdamW, nor infinity x 0
    const float g = gradient[i] * s.gradient_scale + decay;
    const float m = exp_avg[i] + s.beta1_rest * (g - exp_avg[i]);
    const float v = s.beta2 * exp_avg_sq[i] + s.beta2_rest * (g * g);
    const float root = std::sqrt(v) * s.inverse_root_bias_correction + s.epsilon;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    master[i] = s.keep * master[i] - s.step_size * (m / root);
  }
}
