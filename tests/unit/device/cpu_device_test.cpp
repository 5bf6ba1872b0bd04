// The CPUs as a device, against closed forms and known bits.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "support/device_under_test.h"
#include "trainhost/tensor.h"

namespace trainhost {
namespace {

uint16_t rounded(uint32_t bits) {
  const auto value = std::bit_cast<float>(bits);
  uint16_t out = 0;
  cpu_device().round_to_bfloat16(&out, &value, 1);
  return out;
}

TEST(CpuDeviceTest, RoundsToTheNearestBfloat16) {
  EXPECT_EQ(rounded(0x3f800000), 0x3f80);  // 1
  EXPECT_EQ(rounded(0x40490fdb), 0x4049);  // pi: below the middle
  EXPECT_EQ(rounded(0x3eaaaaab), 0x3eab);  // 1/3: above the middle
  EXPECT_EQ(rounded(0x3f808000), 0x3f80);  // a tie, to the even one below
  EXPECT_EQ(rounded(0x3f818000), 0x3f82);  // a tie, to the even one above
  EXPECT_EQ(rounded(0x3f808001), 0x3f81);  // just above a tie
  EXPECT_EQ(rounded(0xbf808000), 0xbf80);  // the sign stays
  EXPECT_EQ(rounded(0x80000000), 0x8000);  // minus zero
  EXPECT_EQ(rounded(0x00000001), 0x0000);  // the smallest subnormal
  EXPECT_EQ(rounded(0x007fffff), 0x0080);  // the largest subnormal carries into the exponent
  EXPECT_EQ(rounded(0x7f7fffff), 0x7f80);  // the largest float is infinite as bfloat16
  EXPECT_EQ(rounded(0xff800000), 0xff80);  // minus infinity
}

TEST(CpuDeviceTest, KeepsNotANumber) {
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    const uint16_t out = rounded(bits);
    EXPECT_EQ(out & 0x7f80, 0x7f80);
    EXPECT_NE(out & 0x007f, 0) << std::hex << bits;
  }
}

// 1 + 4 + ... + n^2 = n (n + 1) (2n + 1) / 6, exact in double precision.
double squares_up_to(double n) { return n * (n + 1) * (2 * n + 1) / 6; }

TEST(CpuDeviceTest, SumsSquaresOfBlocks) {
  std::vector<float> values(100000);
  std::iota(values.begin(), values.end(), 1.0f);
  std::vector<FloatRange> blocks{{0, 0}, {0, 1}, {0, 4096}, {99999, 100000}, {5, 5}};
  for (size_t begin = 0; begin < values.size(); begin += 4096) blocks.push_back({begin, std::min(begin + 4096, values.size())});
  std::vector<double> sums(blocks.size(), -1);
  cpu_device().sum_squares(values.data(), blocks, sums);
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(sums[i], squares_up_to(static_cast<double>(blocks[i].end)) - squares_up_to(static_cast<double>(blocks[i].begin))) << i;
  }
}

TEST(CpuDeviceTest, SumsSquaresInDoublePrecision) {
  const std::vector<float> values{1e20f, 1e-3f, 3e25f};
  const std::vector<FloatRange> blocks{{0, 3}, {1, 2}};
  std::vector<double> sums(2);
  cpu_device().sum_squares(values.data(), blocks, sums);
  EXPECT_NEAR(sums[0] / 9e50, 1, 1e-6);  // beyond the largest float
  EXPECT_EQ(sums[1], double{1e-3f} * double{1e-3f});
}

TEST(CpuDeviceTest, FillsAddsSubtractsAndCopies) {
  Device &device = cpu_device();
  constexpr size_t kCount = 100003;  // for several threads, and a rest
  std::vector<float> ramp(kCount), sum(kCount), copied(kCount);
  std::iota(ramp.begin(), ramp.end(), 0.0f);
  device.fill(sum.data(), 0.5f, kCount);
  device.add(sum.data(), ramp.data(), kCount);
  device.copy(copied.data(), sum.data(), kCount * sizeof(float));
  for (size_t i = 0; i < kCount; ++i) ASSERT_EQ(copied[i], static_cast<float>(i) + 0.5f);
  device.subtract_from(copied.data(), ramp.data(), kCount);
  for (size_t i = 0; i < kCount; ++i) ASSERT_EQ(copied[i], -0.5f);
}

TEST(CpuDeviceTest, SumsProductsOfBlocks) {
  std::vector<float> ramp(10000), other(10000);
  std::iota(ramp.begin(), ramp.end(), 1.0f);
  for (size_t i = 0; i < other.size(); ++i) other[i] = i % 2 == 0 ? 1.0f : -1.0f;  // 1 - 2 + 3 - ...
  const std::vector<FloatRange> blocks{{0, 4096}, {4096, 10000}, {1, 2}, {7, 7}, {3, 10}, {3, 18}};
  std::vector<double> sums(blocks.size(), -1);
  cpu_device().sum_products(ramp.data(), other.data(), blocks, sums);
  EXPECT_EQ(sums, (std::vector<double>{-2048, -2952, -2, 0, -7, -11}));
}

TEST(CpuDeviceTest, GivesAlignedMemory) {
  Device &device = cpu_device();
  for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
    for (const size_t bytes : {size_t{1}, size_t{100}, size_t{1} << 20, size_t{5} << 20}) {
      void *const memory = device.allocate(bytes, std::max(alignment, sizeof(void *)));
      ASSERT_NE(memory, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % alignment, 0u);
      std::memset(memory, 1, bytes);
      device.deallocate(memory, bytes);
    }
  }
  EXPECT_GT(device.available_bytes(), 0u);
}

TEST(CpuDeviceTest, IsACpuWithoutAStream) {
  EXPECT_EQ(cpu_device().type(), TH_DEVICE_CPU);
  EXPECT_EQ(cpu_device().index(), 0);
  EXPECT_EQ(cpu_device().stream(), nullptr);
  EXPECT_TRUE(cpu_device().synchronise());
}

}  // namespace
}  // namespace trainhost
