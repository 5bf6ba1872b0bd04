#include "kernels/level.h"

namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL {

void embed(const float *table, const int32_t *tokens, float scale, int64_t width, int64_t begin, int64_t end, float *y) {
  for (int64_t t = begin; t < end; ++t) {
    const float *row = table + tokens[t] * width;
    float *out = y + t * width;
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) out[c] = scale * row[c];
  }
}

// Split by columns and not by rows: two rows may hold the same token, and every element must be summed in one order.
void embed_backward(const float *dy, const int32_t *tokens, float scale, int64_t rows, int64_t width, int64_t begin, int64_t end,
                    float *table_gradient) {
  for (int64_t t = 0; t < rows; ++t) {
    const float *gradient = dy + t * width;
    float *row = table_gradient + tokens[t] * width;
#pragma omp simd
    for (int64_t c = begin; c < end; ++c) row[c] += scale * gradient[c];
  }
}

}  // namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL
