#include "data/permutation.h"

#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

TEST(Permutation, IsABijectionOfEverySize) {
  for (const uint64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 100, 1000, 4096, 4097, 50'000}) {
    const Permutation order(size, 42, 3, 7);
    std::vector<bool> seen(size);
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t at = order(i);
      ASSERT_LT(at, size);
      ASSERT_FALSE(seen[at]) << size << " " << i;
      seen[at] = true;
    }
  }
}

TEST(Permutation, StaysInsideHugeSizes) {
  const uint64_t size = (uint64_t{1} << 62) + 12345;
  const Permutation order(size, 1, 2, 3);
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_LT(order(size - 1 - i), size);
}

// Pearson's statistic against equal shares.
double chi_square(const std::vector<uint64_t> &counts, double expected) {
  double sum = 0;
  for (const uint64_t count : counts) sum += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected) / expected;
  return sum;
}

TEST(Permutation, ReachesAllOrdersOfFiveAlike) {
  std::map<std::vector<uint64_t>, uint64_t> orders;
  for (uint64_t epoch = 0; epoch < 24'000; ++epoch) {
    const Permutation order(5, 9, 1, epoch);
    ++orders[{order(0), order(1), order(2), order(3), order(4)}];
  }
  ASSERT_EQ(orders.size(), 120u);
  std::vector<uint64_t> counts;
  for (const auto &[order, count] : orders) counts.push_back(count);
  EXPECT_LT(chi_square(counts, 200), 170);  // 119 degrees of freedom: above once in 700
}

TEST(Permutation, SendsNeighboursToUnrelatedPlaces) {
  constexpr uint64_t kSize = 10'000, kCells = 10;
  std::vector<uint64_t> first(kCells * kCells), epochs(kCells * kCells);
  const Permutation order(kSize, 5, 1, 0), next_order(kSize, 5, 1, 1);
  const auto cell = [](uint64_t at) { return at * kCells / kSize; };
  for (uint64_t i = 0; i + 1 < kSize; ++i) {
    ++first[cell(order(i)) * kCells + cell(order(i + 1))];
    ++epochs[cell(order(i)) * kCells + cell(next_order(i))];
  }
  EXPECT_LT(chi_square(first, (kSize - 1) / 100.0), 140);  // 99 degrees of freedom: above once in 250
  EXPECT_LT(chi_square(epochs, (kSize - 1) / 100.0), 140);
}

TEST(Permutation, DependsOnSeedStreamAndNumber) {
  const auto start = [](uint64_t seed, uint64_t stream, uint64_t number) {
    const Permutation order(1'000'000, seed, stream, number);
    return std::vector{order(0), order(1), order(2)};
  };
  EXPECT_EQ(start(1, 2, 3), start(1, 2, 3));
  EXPECT_NE(start(1, 2, 3), start(2, 2, 3));
  EXPECT_NE(start(1, 2, 3), start(1, 3, 3));
  EXPECT_NE(start(1, 2, 3), start(1, 2, 4));
}

}  // namespace
}  // namespace trainhost
