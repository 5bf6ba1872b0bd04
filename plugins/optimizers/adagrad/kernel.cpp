#include "adagrad/kernel.hpp"

#include <cmath>

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void adagrad_kernel(const AdagradStep &step, float *__restrict master, const float *__restrict gradient, float *__restrict sum,
                    int64_t count) {
  const AdagradStep s = step;  // a copy cannot alias what the loop writes
  for (int64_t i = 0; i < count; ++i) {
    const float g = s.gradient_scale * gradient[i] + s.weight_decay * master[i];
    sum[i] += g * g;
    master[i] -= s.learning_rate * (g / (std::sqrt(sum[i]) + s.epsilon));
  }
}
