#include "telemetry/loss_slope.h"

#include <cmath>

namespace trainhost {
namespace {

double slope(std::span<const LossPoint> points, double (*scale)(double)) {
  const auto count = static_cast<double>(points.size());
  double mean_x = 0, mean_y = 0, products = 0, squares = 0;
  for (const LossPoint &point : points) {
    mean_x += scale(point.tokens) / count;
    mean_y += scale(point.loss) / count;
  }
  for (const LossPoint &point : points) {
    const double x = scale(point.tokens) - mean_x;
    products += x * (scale(point.loss) - mean_y);
    squares += x * x;
  }
  return products / squares;
}

}  // namespace

LossSlope loss_slope(std::span<const LossPoint> points) {
  return {.per_token = slope(points, [](double value) { return value; }),
          .exponent = slope(points, [](double value) { return std::log(value); })};
}

}  // namespace trainhost
