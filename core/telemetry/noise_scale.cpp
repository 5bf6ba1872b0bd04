#include "telemetry/noise_scale.h"

#include <limits>

namespace trainhost {

NoiseEstimate estimate_noise(const BatchGradients &gradients) {
  const auto &[small, small_square, big, big_square] = gradients;
  return {.gradient_square = (big * big_square - small * small_square) / (big - small),
          .trace = (small_square - big_square) / (1 / small - 1 / big)};
}

void NoiseScale::add(const NoiseEstimate &estimate) {
  constexpr double kKept = 0.99;
  gradient_square = kKept * gradient_square + (1 - kKept) * estimate.gradient_square;
  trace = kKept * trace + (1 - kKept) * estimate.trace;
}

double NoiseScale::value() const { return gradient_square > 0 ? trace / gradient_square : std::numeric_limits<double>::quiet_NaN(); }

}  // namespace trainhost
