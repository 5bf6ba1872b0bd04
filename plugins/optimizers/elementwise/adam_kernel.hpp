// One step of Adam or AdamW over a run of elements.
#pragma once

#include <cstdint>

struct AdamStep {
  float gradient_scale;
  float coupled_decay;                 // of Adam: this share of the parameter is added to the gradient
  float keep;                          // of AdamW: 1 - learning rate x weight decay
  float beta1_rest;                    // 1 - beta1
  float beta2, beta2_rest;             // beta2_rest = 1 - beta2
  float step_size;                     // learning rate / (1 - beta1^t)
  float inverse_root_bias_correction;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
};

void adam_kernel(const AdamStep &step, float *master, const float *gradient, float *exp_avg, float *exp_avg_sq, int64_t count);
