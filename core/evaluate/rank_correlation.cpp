#include "evaluate/rank_correlation.h"

#include <algorithm>
#include <cmath>  // bivariate_statistics.hpp of Boost 1.74 needs it first
#include <functional>
#include <limits>
#include <vector>

#include <boost/math/statistics/bivariate_statistics.hpp>

namespace trainhost {
namespace {

// From 0 on.
std::vector<double> ranks(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  std::vector<double> ranks;
  for (const double value : values) {
    const auto equal = std::ranges::equal_range(sorted, value);
    const auto first = equal.begin() - sorted.begin(), last = equal.end() - sorted.begin() - 1;
    ranks.push_back(static_cast<double>(first + last) / 2);
  }
  return ranks;
}

bool all_equal(std::span<const double> values) { return std::ranges::adjacent_find(values, std::not_equal_to()) == values.end(); }

}  // namespace

double rank_correlation(std::span<const double> a, std::span<const double> b) {
  if (all_equal(a) || all_equal(b)) return std::numeric_limits<double>::quiet_NaN();
  return boost::math::statistics::correlation_coefficient(ranks(a), ranks(b));
}

}  // namespace trainhost
