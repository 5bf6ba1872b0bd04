// One Schedule-Free step over a run of elements.
#pragma once

#include <cstdint>

struct ScheduleFreeStep {
  float gradient_scale;
  float beta;
  float beta2, beta2_rest;             // beta2_rest = 1 - beta2
  float inverse_root_bias_correction;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
  float learning_rate, decay;  // decay = learning rate x weight decay
  float share;                 // of the newest weights in their average
};

// master: y; base: z; average: x.
void schedule_free_kernel(const ScheduleFreeStep &step, float *master, const float *gradient, float *base, float *average,
                          float *exp_avg_sq, int64_t count);
