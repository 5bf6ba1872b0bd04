// One Adagrad step over a run of elements.
#pragma once

#include <cstdint>

struct AdagradStep {
  float gradient_scale, weight_decay, learning_rate, epsilon;
};

void adagrad_kernel(const AdagradStep &step, float *master, const float *gradient, float *sum, int64_t count);
