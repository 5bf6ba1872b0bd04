// How fast a loss falls.
#pragma once

#include <span>

namespace trainhost {

struct LossPoint {
  double tokens = 0;  // seen, above 0
  double loss = 0;    // nats per token, above 0
};

// Least squares over the points; NaN for fewer than two places. Falling losses have slopes below 0.
struct LossSlope {
  double per_token = 0;  // nats per token for each token more
  double sigma = 0;      // its standard error, as if the losses varied independently around the line; NaN for fewer than three points
  double exponent = 0;   // of the power law that the loss follows: d log loss / d log tokens
};
LossSlope loss_slope(std::span<const LossPoint> points);

}  // namespace trainhost
