#include "schedule_free/kernel.hpp"

#include <cmath>

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void schedule_free_kernel(const ScheduleFreeStep &step, float *__restrict master, const float *__restrict gradient, float *__restrict base,
                          float *__restrict average, float *__restrict exp_avg_sq, int64_t count) {
  const ScheduleFreeStep s = step;  // a copy cannot alias what the loop writes
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    const float v = s.beta2 * exp_avg_sq[i] + s.beta2_rest * (g * g);
    const float root = std::sqrt(v) * s.inverse_root_bias_correction + s.epsilon;
    const float z = base[i] - (s.learning_rate * g / root + s.decay * master[i]);
    const float x = average[i] + s.share * (z - average[i]);
    exp_avg_sq[i] = v;
    base[i] = z;
    average[i] = x;
    master[i] = z + s.beta * (x - z);
  }
}
