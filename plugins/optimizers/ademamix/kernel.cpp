#include "ademamix/kernel.hpp"

#include <cmath>

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void ademamix_kernel(const AdEMAMixStep &step, float *__restrict master, const float *__restrict gradient, float *__restrict exp_avg,
                     float *__restrict exp_avg_slow, float *__restrict exp_avg_sq, int64_t count) {
  const AdEMAMixStep s = step;  // a copy cannot alias what the loop writes
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    const float fast = exp_avg[i] + s.beta1_rest * (g - exp_avg[i]);
    const float slow = exp_avg_slow[i] + s.beta3_rest * (g - exp_avg_slow[i]);
    const float v = s.beta2 * exp_avg_sq[i] + s.beta2_rest * (g * g);
    const float root = std::sqrt(v) * s.inverse_root_bias_correction + s.epsilon;
    exp_avg[i] = fast;
    exp_avg_slow[i] = slow;
    exp_avg_sq[i] = v;
    master[i] = s.keep * master[i] - (s.fast_share * fast + s.slow_share * slow) / root;
  }
}
