#include "curve.h"

#include <algorithm>
#include <cmath>
#include <utility>

// F. N. Fritsch and R. E. Carlson, Monotone piecewise cubic interpolation, SIAM J. Numer. Anal. 17 (1980): a cubic between two points is
// monotone when both slopes, divided by the secant, lie in [0, 3]. The slopes within that region are those of F. N. Fritsch and
// J. Butland, SIAM J. Sci. Stat. Comput. 5 (1984), equation 5, which SciPy's PchipInterpolator uses too.
Curve::Curve(std::vector<double> x, std::vector<double> y) : x_(std::move(x)), y_(std::move(y)), slope_(x_.size()) {
  const size_t last = x_.size() - 1;
  for (size_t i = 1; i < last; ++i) slope_[i] = inner_slope(i);
  slope_[0] = last == 1 ? secant(0) : end_slope(0, 1);
  slope_[last] = last == 1 ? secant(0) : end_slope(last - 1, last - 2);
}

// The harmonic mean of the secants on both sides, weighted by the lengths; level where they differ in sign.
double Curve::inner_slope(size_t i) const {
  const double before = secant(i - 1), after = secant(i);
  if (before * after <= 0) return 0;
  const double h_before = x_[i] - x_[i - 1], h_after = x_[i + 1] - x_[i];
  const double w_before = h_before + 2 * h_after, w_after = 2 * h_before + h_after;
  return (w_before + w_after) / (w_before / before + w_after / after);
}

// At an end: the parabola through three points, brought into the region. end, next: the first and second interval from that end.
double Curve::end_slope(size_t end, size_t next) const {
  const double h = x_[end + 1] - x_[end], h_next = x_[next + 1] - x_[next];
  const double d = secant(end), d_next = secant(next);
  const double slope = ((2 * h + h_next) * d - h * d_next) / (h + h_next);
  if (slope * d <= 0) return 0;
  return d * d_next < 0 && std::abs(slope) > 3 * std::abs(d) ? 3 * d : slope;
}

size_t Curve::interval(double x) const {
  const auto after = std::upper_bound(x_.begin() + 1, x_.end() - 1, x);
  return static_cast<size_t>(after - x_.begin()) - 1;
}

// Hermite's cubic; clamped, because its last bits may lie beyond the points'.
double Curve::at(double x) const {
  if (x <= x_.front()) return y_.front();
  if (x >= x_.back()) return y_.back();
  const size_t i = interval(x);
  const double h = x_[i + 1] - x_[i], t = (x - x_[i]) / h, rise = y_[i + 1] - y_[i];
  const double y = y_[i] + rise * t * t * (3 - 2 * t) + h * t * (1 - t) * ((1 - t) * slope_[i] - t * slope_[i + 1]);
  return std::clamp(y, std::min(y_[i], y_[i + 1]), std::max(y_[i], y_[i + 1]));
}

int Curve::direction(double x) const {
  if (x < x_.front() || x >= x_.back()) return 0;
  const size_t i = interval(x);
  return (y_[i + 1] > y_[i]) - (y_[i + 1] < y_[i]);
}
