#include "evaluate/critical_batch.h"

#include <algorithm>
#include <cmath>

namespace trainhost {
namespace {

double r_squared(const CriticalBatch &fit, std::span<const ReachedLoss> points) {
  double mean = 0, residual = 0, total = 0;
  for (const ReachedLoss &point : points) mean += std::log(point.steps) / static_cast<double>(points.size());
  for (const ReachedLoss &point : points) {
    const double predicted = fit.least_steps + fit.least_tokens * point.steps / point.tokens;
    residual += std::pow(std::log(point.steps) - std::log(predicted), 2);
    total += std::pow(std::log(point.steps) - mean, 2);
  }
  return 1 - residual / total;
}

}  // namespace

std::optional<CriticalBatch> fit_critical_batch(std::span<const ReachedLoss> points) {
  if (points.size() < 3) return std::nullopt;
  const auto positive = [](const ReachedLoss &point) { return point.steps > 0 && point.tokens > 0; };
  if (!std::ranges::all_of(points, positive)) return std::nullopt;
  // S_min (1/S) + E_min (1/E) = 1, in the unit of the first point; the sums are those of the normal equations.
  double ss = 0, st = 0, tt = 0, s1 = 0, t1 = 0;
  for (const ReachedLoss &point : points) {
    const double s = points.front().steps / point.steps, t = points.front().tokens / point.tokens;
    ss += s * s;
    st += s * t;
    tt += t * t;
    s1 += s;
    t1 += t;
  }
  const double determinant = ss * tt - st * st;
  if (!(determinant > 1e-12 * ss * tt)) return std::nullopt;
  CriticalBatch fit{.least_steps = points.front().steps * (s1 * tt - t1 * st) / determinant,
                    .least_tokens = points.front().tokens * (t1 * ss - s1 * st) / determinant};
  if (!(fit.least_steps > 0 && fit.least_tokens > 0)) return std::nullopt;
  fit.r_squared = r_squared(fit, points);
  return fit;
}

}  // namespace trainhost
