#include <math.h>

#include "kernels/level.h"

namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL {

void causal_softmax(float *scores, int64_t rows, int64_t keys, int64_t first, float *log_sum_exp) {
  for (int64_t i = 0; i < rows; ++i) {
    float *row = scores + i * keys;
    const int64_t seen = first + i + 1;
    float largest = row[0];
#pragma omp simd reduction(max : largest)
    for (int64_t k = 0; k < seen; ++k) largest = row[k] > largest ? row[k] : largest;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < seen; ++k) {
      row[k] = exponential(row[k] - largest);
      sum += row[k];
    }
    const float normalizer = 1 / sum;
#pragma omp simd
    for (int64_t k = 0; k < seen; ++k) row[k] *= normalizer;
    for (int64_t k = seen; k < keys; ++k) row[k] = 0;
    log_sum_exp[i] = largest + logf(sum);
  }
}

void causal_softmax_backward(float *scores, float *gradient, int64_t rows, int64_t keys, int64_t first, const float *log_sum_exp,
                             const float *delta) {
  for (int64_t i = 0; i < rows; ++i) {
    float *p = scores + i * keys;
    float *g = gradient + i * keys;
    const int64_t seen = first + i + 1;
#pragma omp simd
    for (int64_t k = 0; k < seen; ++k) {
      p[k] = exponential(p[k] - log_sum_exp[i]);
      g[k] = p[k] * (g[k] - delta[i]);
    }
    for (int64_t k = seen; k < keys; ++k) p[k] = g[k] = 0;
  }
}

void row_products(const float *a, const float *b, int64_t rows, int64_t columns, int64_t stride, float *products) {
  for (int64_t i = 0; i < rows; ++i) {
    const float *left = a + i * stride;
    const float *right = b + i * stride;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < columns; ++c) sum += left[c] * right[c];
    products[i] = sum;
  }
}

}  // namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL
