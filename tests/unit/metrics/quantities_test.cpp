#include "metrics/quantities.h"

#include <gtest/gtest.h>

#include "metrics/metrics.h"

namespace trainhost {
namespace {

TEST(Quantities, CountsHaveAtMostOneDecimal) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(950), "950");
  EXPECT_EQ(count_text(999.4), "999");
  EXPECT_EQ(count_text(999.6), "1.0k");
  EXPECT_EQ(count_text(12'345), "12.3k");
  EXPECT_EQ(count_text(999'949), "999.9k");
  EXPECT_EQ(count_text(999'951), "1.0M");
  EXPECT_EQ(count_text(1'500'000), "1.5M");
  EXPECT_EQ(count_text(2e9), "2.0B");
  EXPECT_EQ(count_text(3.25e15), "3250.0T");
}

TEST(Quantities, BytesAreInPowersOfAThousand) {
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(12'345'678), "12.3 MB");
  EXPECT_EQ(bytes_text(1'231'413'248), "1.2 GB");
}

TEST(Quantities, DurationsHaveTwoUnits) {
  EXPECT_EQ(duration_text(0.44), "0.4s");
  EXPECT_EQ(duration_text(9.96), "10s");
  EXPECT_EQ(duration_text(59.6), "1m 00s");
  EXPECT_EQ(duration_text(200), "3m 20s");
  EXPECT_EQ(duration_text(7'500), "2h 05m");
  EXPECT_EQ(duration_text(3 * 86'400 + 4 * 3'600), "3d 04h");
}

TEST(Quantities, PercentReachesAHundredOnlyAtTheEnd) {
  EXPECT_EQ(percent_text(0, 10), "0%");
  EXPECT_EQ(percent_text(9'999, 10'000), "99%");
  EXPECT_EQ(percent_text(10'000, 10'000), "100%");
  EXPECT_EQ(percent_text(0, 0), "100%");
}

TEST(Quantities, StepsHaveGroupsOfThree) {
  EXPECT_EQ(step_text(7), "7");
  EXPECT_EQ(step_text(999), "999");
  EXPECT_EQ(step_text(1'000), "1,000");
  EXPECT_EQ(step_text(1'234'567), "1,234,567");
}

TEST(PeakMemory, CountsWhatTheProcessTouched) {
  const uint64_t before = peak_resident_bytes();
  EXPECT_GT(before, 1'000'000u);
  std::vector<char> block(256 << 20, 1);
  EXPECT_GT(block[block.size() / 2], 0);
  EXPECT_GE(peak_resident_bytes(), std::max<uint64_t>(before, block.size()));
}

}  // namespace
}  // namespace trainhost
