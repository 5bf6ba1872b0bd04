#include "muon/kernel.hpp"

#include "elementwise/vectorised.hpp"

TRAINHOST_VECTORISED
void muon_momentum(float gradient_scale, float momentum, const float *__restrict gradient, float *__restrict buffer,
                   float *__restrict direction, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient_scale * gradient[i];
    buffer[i] = momentum * buffer[i] + g;
    direction[i] = g + momentum * buffer[i];
  }
}
