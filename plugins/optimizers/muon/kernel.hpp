// What Muon does to a run of a matrix' elements before it is orthogonalised.
#pragma once

#include <cstdint>

// buffer = momentum x buffer + g;  direction = g + momentum x buffer (Nesterov), with g = gradient_scale x gradient.
void muon_momentum(float gradient_scale, float momentum, const float *gradient, float *buffer, float *direction, int64_t count);
