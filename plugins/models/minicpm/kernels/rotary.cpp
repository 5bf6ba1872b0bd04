#include "kernels/level.h"

namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL {

void rotate(float *x, const int32_t *positions, const float *cosine, const float *sine, float direction, int64_t heads,
            int64_t head_dimension, int64_t stride, int64_t begin, int64_t end) {
  const int64_t half = head_dimension / 2;
  for (int64_t t = begin; t < end; ++t) {
    const float *cos = cosine + positions[t] * half;
    const float *sin = sine + positions[t] * half;
    for (int64_t head = 0; head < heads; ++head) {
      float *a = x + t * stride + head * head_dimension;
      float *b = a + half;
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        const float first = a[i], second = b[i], turn = direction * sin[i];
        a[i] = first * cos[i] - second * turn;
        b[i] = second * cos[i] + first * turn;
      }
    }
  }
}

}  // namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL
