#include <math.h>

#include "kernels/level.h"

namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL {

void cross_entropy(float *logits, const int32_t *targets, const float *weights, float scale, bool gradients, int64_t vocabulary,
                   int64_t begin, int64_t end, float *losses) {
  for (int64_t t = begin; t < end; ++t) {
    float *row = logits + t * vocabulary;
    const float target = row[targets[t]];
    float largest = row[0];
#pragma omp simd reduction(max : largest)
    for (int64_t v = 0; v < vocabulary; ++v) largest = row[v] > largest ? row[v] : largest;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t v = 0; v < vocabulary; ++v) {
      row[v] = exponential(row[v] - largest);
      sum += row[v];
    }
    losses[t] = logf(sum) + largest - target;
    if (!gradients) continue;
    const float factor = scale * weights[t];
    const float normalizer = factor / sum;
#pragma omp simd
    for (int64_t v = 0; v < vocabulary; ++v) row[v] *= normalizer;
    row[targets[t]] -= factor;
  }
}

}  // namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL
