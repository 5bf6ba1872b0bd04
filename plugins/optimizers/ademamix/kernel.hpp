// One AdEMAMix step over a run of elements.
#pragma once

#include <cstdint>

struct AdEMAMixStep {
  float gradient_scale;
  float keep;                          // 1 - learning rate x weight decay
  float beta1_rest, beta3_rest;        // 1 - beta1, 1 - beta3
  float beta2, beta2_rest;             // beta2_rest = 1 - beta2
  float fast_share, slow_share;        // learning rate / (1 - beta1^t), learning rate x alpha
  float inverse_root_bias_correction;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
};

void ademamix_kernel(const AdEMAMixStep &step, float *master, const float *gradient, float *exp_avg, float *exp_avg_slow, float *exp_avg_sq,
                     int64_t count);
