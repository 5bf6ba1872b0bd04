#include "evaluate/welch_test.h"

#include <cmath>
#include <numeric>

#include <boost/math/distributions/students_t.hpp>

namespace trainhost {

SampleSummary summarise(std::span<const double> values) {
  SampleSummary summary{.count = values.size()};
  if (values.empty()) return summary;
  const auto count = static_cast<double>(values.size());
  summary.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - summary.mean) * (value - summary.mean);
  if (values.size() > 1) summary.deviation = std::sqrt(squares / (count - 1));
  return summary;
}

std::optional<WelchTest> welch_test(const SampleSummary &a, const SampleSummary &b) {
  if (a.count < 2 || b.count < 2) return std::nullopt;
  const auto variance_of_mean = [](const SampleSummary &s) { return s.deviation * s.deviation / static_cast<double>(s.count); };
  const auto share = [](const SampleSummary &s, double variance) { return variance * variance / static_cast<double>(s.count - 1); };
  const double of_a = variance_of_mean(a), of_b = variance_of_mean(b);
  WelchTest test{.t = (b.mean - a.mean) / std::sqrt(of_a + of_b),
                 .degrees = (of_a + of_b) * (of_a + of_b) / (share(a, of_a) + share(b, of_b))};
  if (!std::isfinite(test.t) || !std::isfinite(test.degrees)) return std::nullopt;
  const boost::math::students_t distribution(test.degrees);
  test.p = 2 * boost::math::cdf(boost::math::complement(distribution, std::abs(test.t)));
  return test;
}

}  // namespace trainhost
