// One step of gradient descent over a run of elements.
#pragma once

#include <cstdint>

struct SgdStep {
  float gradient_scale, weight_decay, learning_rate;
  float momentum;
  float gradient_share, momentum_share;  // direction = gradient_share x gradient + momentum_share x momentum buffer
};

void sgd_kernel(const SgdStep &step, float *master, const float *gradient, int64_t count);
void momentum_kernel(const SgdStep &step, float *master, const float *gradient, float *momentum_buffer, int64_t count);
