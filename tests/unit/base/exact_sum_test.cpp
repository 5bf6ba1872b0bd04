#include "base/exact_sum.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

double sum_of(std::span<const double> terms) {
  ExactSum sum;
  for (const double term : terms) sum.add(term);
  return sum.value();
}

TEST(ExactSum, KeepsWhatDoublesLose) {
  EXPECT_EQ(sum_of(std::vector{1e300, 1.0, -1e300}), 1.0);
  EXPECT_EQ(sum_of(std::vector{1.0, 1e-300, -1.0}), 1e-300);
  EXPECT_EQ(sum_of(std::vector{0x1p53, 1.0, 1.0}), 0x1p53 + 2);
  EXPECT_EQ(sum_of(std::vector{-3.5, 1.25}), -2.25);
  EXPECT_EQ(sum_of({}), 0.0);
}

TEST(ExactSum, CoversTheWholeRangeOfDoubles) {
  for (const double value : {std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::min(), 0.1, 1.0 / 3, 1e308,
                             std::numeric_limits<double>::max()}) {
    EXPECT_EQ(sum_of(std::vector{value}), value);
    EXPECT_EQ(sum_of(std::vector{-value}), -value);
    EXPECT_EQ(sum_of(std::vector{value, -value}), 0.0);
  }
  EXPECT_TRUE(std::isnan(sum_of(std::vector{1.0, std::numeric_limits<double>::infinity()})));
  EXPECT_TRUE(std::isnan(sum_of(std::vector{std::numeric_limits<double>::quiet_NaN()})));
}

// Against the sum in extended precision of terms that need no more.
TEST(ExactSum, IsTheSumOfRandomTermsInAnyOrderAndCut) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<double> terms(10000);
  for (double &term : terms)
    term = std::ldexp(std::round(std::ldexp(uniform(random), 40)), -40);  // multiples of 2^-40: exact in a long double
  long double expected = 0;
  for (const double term : terms) expected += term;
  const double whole = sum_of(terms);
  EXPECT_EQ(whole, static_cast<double>(expected));

  for (const size_t parts : {2u, 3u, 7u}) {
    std::ranges::shuffle(terms, random);
    ExactSum total;
    for (size_t part = 0; part < parts; ++part) {
      ExactSum partial;
      for (size_t i = part; i < terms.size(); i += parts) partial.add(terms[i]);
      total.add(partial.limbs());
    }
    EXPECT_EQ(total.value(), whole) << parts << " parts";
  }
}

TEST(ExactSum, PassesOnThatATermWasNotFinite) {
  ExactSum part, total;
  part.add(std::numeric_limits<double>::infinity());
  total.add(1.0).add(part.limbs());
  EXPECT_TRUE(std::isnan(total.value()));
}

}  // namespace
}  // namespace trainhost
