// What LAMB does to a run of elements.
#pragma once

#include <cstdint>

struct LambStep {
  float gradient_scale;
  float beta1_rest;         // 1 - beta1
  float beta2, beta2_rest;  // beta2_rest = 1 - beta2
  float epsilon;
  float weight_decay;
};

void lamb_moments(const LambStep &step, const float *gradient, float *exp_avg, float *exp_avg_sq, int64_t count);

// direction = exp_avg / (sqrt(exp_avg_sq) + epsilon) + weight_decay x master.
void lamb_direction(const LambStep &step, const float *master, const float *exp_avg, const float *exp_avg_sq, float *direction,
                    int64_t count);
