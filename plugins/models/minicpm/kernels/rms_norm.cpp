#include <math.h>

#include "kernels/level.h"

namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL {

void rms_norm(const float *x, const float *weight, float epsilon, int64_t width, int64_t begin, int64_t end, float *y, float *inverse_rms) {
  for (int64_t t = begin; t < end; ++t) {
    const float *row = x + t * width;
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < width; ++c) squares += row[c] * row[c];
    inverse_rms[t] = 1.0f / sqrtf(squares / static_cast<float>(width) + epsilon);
  }
  rms_norm_again(x, weight, inverse_rms, width, begin, end, y);
}

void rms_norm_again(const float *x, const float *weight, const float *inverse_rms, int64_t width, int64_t begin, int64_t end, float *y) {
  for (int64_t t = begin; t < end; ++t) {
    const float *row = x + t * width;
    float *out = y + t * width;
    const float r = inverse_rms[t];
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) out[c] = row[c] * r * weight[c];
  }
}

void rms_norm_backward(const float *dy, const float *x, const float *weight, const float *inverse_rms, const float *skipped, int64_t width,
                       int64_t begin, int64_t end, float *dx, float *weight_gradient) {
  for (int64_t c = 0; c < width; ++c) weight_gradient[c] = 0;
  for (int64_t t = begin; t < end; ++t) {
    const float *gradient = dy + t * width;
    const float *row = x + t * width;
    float *out = dx + t * width;
    const float r = inverse_rms[t];
    float product = 0;
#pragma omp simd reduction(+ : product)
    for (int64_t c = 0; c < width; ++c) {
      product += gradient[c] * weight[c] * row[c];
      weight_gradient[c] += gradient[c] * row[c] * r;
    }
    const float shrink = product / static_cast<float>(width) * r * r;
    if (skipped != nullptr) {
      const float *residual = skipped + t * width;
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) out[c] = residual[c] + r * (gradient[c] * weight[c] - row[c] * shrink);
    } else {
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) out[c] = r * (gradient[c] * weight[c] - row[c] * shrink);
    }
  }
}

void sum_parts(const float *parts, int64_t count, int64_t width, int64_t begin, int64_t end, bool add, float *sum) {
  if (!add) {
    for (int64_t c = begin; c < end; ++c) sum[c] = 0;
  }
  for (int64_t part = 0; part < count; ++part) {
    const float *row = parts + part * width;
#pragma omp simd
    for (int64_t c = begin; c < end; ++c) sum[c] += row[c];
  }
}

}  // namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL
