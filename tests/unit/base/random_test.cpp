#include "base/random.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

// Known answers of Random123 1.14 (kat_vectors, philox4x32 with 10 rounds).
TEST(Philox, GivesRandom123sKnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint64_t ones = ~uint64_t{0};
  EXPECT_EQ(philox(ones, ones, ones), (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Normal, DoesNotDependOnHowARangeIsCut) {
  std::vector<float> whole(1001), parts(1001);
  fill_normal(7, 3, 0, whole);
  fill_normal(7, 3, 0, std::span(parts).first(333));
  fill_normal(7, 3, 333, std::span(parts).subspan(333));
  EXPECT_EQ(whole, parts);
}

TEST(Normal, HasMeanZeroAndDeviationOne) {
  std::vector<float> values(1 << 20);
  fill_normal(1, 2, 0, values);
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += value;
    squares += double{value} * value;
  }
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));  // five standard errors
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n));
}

}  // namespace
}  // namespace trainhost
