#include "evaluate/paired_difference.h"

#include <cmath>
#include <cstddef>
#include <limits>

namespace trainhost {

PairedDifference paired_difference(std::span<const double> before, std::span<const double> after, std::span<const double> tokens) {
  double sum = 0, counted = 0, windows = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    sum += after[i] - before[i];
    counted += tokens[i];
    windows += tokens[i] > 0 ? 1 : 0;
  }
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  if (counted == 0) return {0, unknown};
  PairedDifference difference{sum / counted, unknown};
  if (windows < 2) return difference;
  double squares = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const double rest = after[i] - before[i] - difference.mean * tokens[i];
    squares += rest * rest;
  }
  difference.sigma = std::sqrt(windows / (windows - 1) * squares) / counted;
  return difference;
}

}  // namespace trainhost
