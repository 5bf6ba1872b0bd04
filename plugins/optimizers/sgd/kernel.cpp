#include "sgd/kernel.hpp"

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void sgd_kernel(const SgdStep &step, float *__restrict master, const float *__restrict gradient, int64_t count) {
  const SgdStep s = step;  // a copy cannot alias what the loop writes
  for (int64_t i = 0; i < count; ++i) {
    const float g = s.gradient_scale * gradient[i] + s.weight_decay * master[i];
    master[i] -= s.learning_rate * g;
  }
}

TRAINHOST_VECTORISED
void momentum_kernel(const SgdStep &step, float *__restrict master, const float *__restrict gradient, float *__restrict momentum_buffer,
                     int64_t count) {
  const SgdStep s = step;
  for (int64_t i = 0; i < count; ++i) {
    const float g = s.gradient_scale * gradient[i] + s.weight_decay * master[i];
    const float m = s.momentum * momentum_buffer[i] + g;
    momentum_buffer[i] = m;
    master[i] -= s.learning_rate * (s.gradient_share * g + s.momentum_share * m);
  }
}
