// A smooth curve through points that is monotone between them: it has no top or bottom where no point has one.
#pragma once

#include <cstddef>
#include <vector>

class Curve {
 public:
  // At least two points, x ascending.
  Curve(std::vector<double> x, std::vector<double> y);

  // Before the first point its y, after the last one its y.
  double at(double x) const;
  // The sign of the slope there: -1, 0 or 1.
  int direction(double x) const;

 private:
  size_t interval(double x) const;  // i with x[i] <= x < x[i + 1]; x lies between the first and the last
  double secant(size_t i) const { return (y_[i + 1] - y_[i]) / (x_[i + 1] - x_[i]); }
  double inner_slope(size_t i) const;
  double end_slope(size_t end, size_t next) const;

  std::vector<double> x_, y_, slope_;
};
