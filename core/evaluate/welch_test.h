// Whether two ways to train differ, or only their seeds do.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace trainhost {

constexpr double kSignificant = 0.05;  // a p below it is taken for more than chance

// Of the results of several seeds.
struct SampleSummary {
  size_t count = 0;
  double mean = 0;
  double deviation = 0;  // of the sample: divided by count - 1; 0 for one value
};
SampleSummary summarise(std::span<const double> values);

// Welch's t-test (Biometrika 34, 1947): for two samples whose variances need not be equal.
struct WelchTest {
  double t = 0;        // the difference of the means, b - a, over its standard error
  double degrees = 0;  // of freedom, by Welch and Satterthwaite
  double p = 0;        // two-sided: how likely so large a |t| is when the two means are equal
};
// nullopt when nothing can be said: a sample of fewer than two, values that are not finite, or no spread at all.
std::optional<WelchTest> welch_test(const SampleSummary &a, const SampleSummary &b);

}  // namespace trainhost
