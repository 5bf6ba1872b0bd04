#include "kernels/level.h"

namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL {

void swiglu(const float *gate_up, int64_t feed_forward, int64_t begin, int64_t end, float *hidden) {
  for (int64_t t = begin; t < end; ++t) {
    const float *gate = gate_up + t * 2 * feed_forward;
    const float *up = gate + feed_forward;
    float *out = hidden + t * feed_forward;
#pragma omp simd
    for (int64_t f = 0; f < feed_forward; ++f) out[f] = gate[f] / (1 + exponential(-gate[f])) * up[f];
  }
}

// silu(g) = g s with s = sigmoid(g); its derivative is s (1 + g (1 - s)).
void swiglu_backward(float *gate_up, int64_t feed_forward, int64_t begin, int64_t end, float *hidden) {
  for (int64_t t = begin; t < end; ++t) {
    float *gate = gate_up + t * 2 * feed_forward;
    float *up = gate + feed_forward;
    float *both = hidden + t * feed_forward;
#pragma omp simd
    for (int64_t f = 0; f < feed_forward; ++f) {
      const float g = gate[f], u = up[f], gradient = both[f];
      const float sigmoid = 1 / (1 + exponential(-g));
      const float silu = g * sigmoid;
      both[f] = silu * u;
      up[f] = gradient * silu;
      gate[f] = gradient * u * (sigmoid + silu * (1 - sigmoid));
    }
  }
}

}  // namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL
