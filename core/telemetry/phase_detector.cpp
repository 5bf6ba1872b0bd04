#include "telemetry/phase_detector.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trainhost {
namespace {

constexpr size_t kMostPoints = 1000;      // pairs of knees are tried, so the time goes with their square
constexpr size_t kFewestPoints = 5;       // of a piece
constexpr double kFinestResidual = 1e-4;  // of log loss; what is below it is no knee

struct Point {
  double x = 0, y = 0;  // log tokens, log loss
};

// The mean of so many neighbours each that few enough are left.
std::vector<Point> thinned(std::span<const LossPoint> points) {
  std::vector<Point> all;
  for (const LossPoint &point : points) {
    if (std::isfinite(point.loss) && point.loss > 0 && point.tokens > 0) all.push_back({std::log(point.tokens), std::log(point.loss)});
  }
  const size_t together = (all.size() + kMostPoints - 1) / kMostPoints;
  std::vector<Point> means;
  for (size_t begin = 0; begin < all.size(); begin += together) {
    const size_t end = std::min(begin + together, all.size());
    Point &mean = means.emplace_back();
    for (size_t i = begin; i < end; ++i) {
      mean.x += all[i].x / static_cast<double>(end - begin);
      mean.y += all[i].y / static_cast<double>(end - begin);
    }
  }
  return means;
}

struct Line {
  double at_zero = 0, slope = 0, residuals = 0;  // residuals: sum of their squares
};

// Least squares through any run of the points, from sums over all points before each.
class Lines {
 public:
  explicit Lines(std::span<const Point> points) : sums_(points.size() + 1) {
    for (const Point &point : points) {  // sums around the middle lose fewer digits
      middle_.x += point.x / static_cast<double>(points.size());
      middle_.y += point.y / static_cast<double>(points.size());
    }
    for (size_t i = 0; i < points.size(); ++i) {
      const double x = points[i].x - middle_.x, y = points[i].y - middle_.y;
      sums_[i + 1] = {sums_[i].x + x, sums_[i].y + y, sums_[i].xx + x * x, sums_[i].xy + x * y, sums_[i].yy + y * y};
    }
  }

  size_t points() const { return sums_.size() - 1; }

  Line through(size_t begin, size_t end) const {
    const Sums &before = sums_[begin], &all = sums_[end];
    const auto count = static_cast<double>(end - begin);
    const double x = (all.x - before.x) / count, y = (all.y - before.y) / count;
    const double xx = all.xx - before.xx - count * x * x, xy = all.xy - before.xy - count * x * y;
    const double slope = xx > 0 ? xy / xx : 0;
    return {.at_zero = y + middle_.y - slope * (x + middle_.x),
            .slope = slope,
            .residuals = std::max(0.0, all.yy - before.yy - count * y * y - slope * xy)};
  }

 private:
  struct Sums {
    double x = 0, y = 0, xx = 0, xy = 0, yy = 0;
  };
  Point middle_;
  std::vector<Sums> sums_;
};

// Where pieces begin and end: 0, the cuts between them, the number of points.
struct Pieces {
  std::vector<size_t> borders;
  double residuals = std::numeric_limits<double>::infinity();

  void keep_if_better(const Lines &lines, std::vector<size_t> others) {
    double sum = 0;
    for (size_t i = 0; i + 1 < others.size(); ++i) sum += lines.through(others[i], others[i + 1]).residuals;
    if (sum < residuals) *this = {std::move(others), sum};
  }

  double information_criterion() const {
    const auto points = static_cast<double>(borders.back()), pieces = static_cast<double>(borders.size() - 1);
    const double variance = std::max(residuals / points, kFinestResidual * kFinestResidual);
    return points * std::log(variance) + (3 * pieces - 1) * std::log(points);  // two parameters of a line each, and the cuts
  }
};

Pieces best_of(const Lines &lines, size_t pieces) {
  const size_t end = lines.points();
  Pieces best;
  if (pieces == 1) best.keep_if_better(lines, {0, end});
  for (size_t first = kFewestPoints; pieces > 1 && first + kFewestPoints <= end; ++first) {
    if (pieces == 2) best.keep_if_better(lines, {0, first, end});
    for (size_t second = first + kFewestPoints; pieces == 3 && second + kFewestPoints <= end; ++second)
      best.keep_if_better(lines, {0, first, second, end});
  }
  return best;
}

// Where two neighbouring lines cross; between their pieces when they do not cross within these.
double knee(std::span<const Point> points, const Lines &lines, size_t begin, size_t cut, size_t end) {
  const Line before = lines.through(begin, cut), after = lines.through(cut, end);
  const double crossing = (after.at_zero - before.at_zero) / (before.slope - after.slope);
  const bool within = crossing > points[begin].x && crossing < points[end - 1].x;
  return std::exp(within ? crossing : (points[cut - 1].x + points[cut].x) / 2);
}

}  // namespace

DetectedPhases detect_phases(std::span<const LossPoint> loss_points) {
  const std::vector<Point> points = thinned(loss_points);
  DetectedPhases phases;
  if (points.empty()) return phases;
  const Lines lines(points);
  Pieces best = best_of(lines, 1);
  for (const size_t pieces : {2u, 3u}) {
    if (points.size() < pieces * kFewestPoints) break;
    Pieces more = best_of(lines, pieces);
    if (more.information_criterion() < best.information_criterion()) best = std::move(more);
  }
  const std::vector<size_t> &borders = best.borders;
  for (size_t i = 0; i + 1 < borders.size(); ++i) {
    phases.exponents.push_back(lines.through(borders[i], borders[i + 1]).slope);
    if (i > 0) phases.knees.push_back(knee(points, lines, borders[i - 1], borders[i], borders[i + 1]));
  }
  return phases;
}

}  // namespace trainhost
