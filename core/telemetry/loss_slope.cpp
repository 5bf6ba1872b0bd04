#include "telemetry/loss_slope.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trainhost {
namespace {

struct Line {
  double slope = 0, sigma = 0;
};

Line line_through(std::span<const LossPoint> points, double (*scale)(double)) {
  const auto count = static_cast<double>(points.size());
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0, yy = 0;
  for (const LossPoint &point : points) {
    mean_x += scale(point.tokens) / count;
    mean_y += scale(point.loss) / count;
  }
  for (const LossPoint &point : points) {
    const double x = scale(point.tokens) - mean_x, y = scale(point.loss) - mean_y;
    xx += x * x;
    xy += x * y;
    yy += y * y;
  }
  const double slope = xy / xx, residuals = std::max(yy - slope * xy, 0.0);
  return {.slope = slope, .sigma = count > 2 ? std::sqrt(residuals / (count - 2) / xx) : std::numeric_limits<double>::quiet_NaN()};
}

}  // namespace

LossSlope loss_slope(std::span<const LossPoint> points) {
  const Line plain = line_through(points, [](double value) { return value; });
  return {
      .per_token = plain.slope, .sigma = plain.sigma, .exponent = line_through(points, [](double value) { return std::log(value); }).slope};
}

}  // namespace trainhost
