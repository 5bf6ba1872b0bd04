// One Lion step over a run of elements.
#pragma once

#include <cstdint>

struct LionStep {
  float gradient_scale;
  float keep;               // 1 - learning rate x weight decay
  float beta1, beta1_rest;  // beta1_rest = 1 - beta1
  float beta2_rest;         // 1 - beta2
  float learning_rate;
};

void lion_kernel(const LionStep &step, float *master, const float *gradient, float *exp_avg, int64_t count);
