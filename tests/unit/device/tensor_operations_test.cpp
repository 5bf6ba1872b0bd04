// What a GPU does by LibTorch's operators, here done by the same code on CPUs, against the host's own arithmetic.
#include "device/cuda/tensor_operations.h"

#include <cstring>

#include <gtest/gtest.h>

#include "support/device_under_test.h"

namespace trainhost {
namespace {

const TensorOperations kOperations{c10::Device(c10::kCPU)};

TEST(TensorOperationsTest, FillsAddsAndSubtracts) {
  for (const size_t count : {size_t{0}, size_t{1}, size_t{100003}}) {
    std::vector<float> by_torch(count, 1), by_host(count, 1);
    const auto values = test::many_floats(count);
    kOperations.fill(by_torch.data(), -2.5f, count);
    kOperations.add(by_torch.data(), values.data(), count);
    cpu_device().fill(by_host.data(), -2.5f, count);
    cpu_device().add(by_host.data(), values.data(), count);
    EXPECT_EQ(by_torch, by_host);
    kOperations.subtract_from(by_torch.data(), values.data(), count);
    cpu_device().subtract_from(by_host.data(), values.data(), count);
    EXPECT_EQ(by_torch, by_host);
  }
}

TEST(TensorOperationsTest, RoundsToTheSameBits) {
  auto values = test::many_floats(50001);
  const auto hard = test::hard_to_round();
  values.insert(values.end(), hard.begin(), hard.end());
  std::vector<uint16_t> by_torch(values.size()), by_host(values.size());
  kOperations.round_to_bfloat16(by_torch.data(), values.data(), values.size());
  cpu_device().round_to_bfloat16(by_host.data(), values.data(), values.size());
  EXPECT_EQ(by_torch, by_host);
}

TEST(TensorOperationsTest, SumsProductsOfBlocks) {
  const auto values = test::many_floats(9000000);  // more than what is taken at once
  const auto before = values;
  std::vector<float> others = values;
  for (size_t i = 0; i < others.size(); ++i) others[i] *= static_cast<float>(1 + i % 5);
  auto blocks = test::blocks_of(1000000);
  for (size_t begin = 1000000; begin + 4096 <= values.size(); begin += 4096) blocks.push_back({begin, begin + 4096});
  std::vector<double> by_torch(blocks.size()), again(blocks.size()), by_host(blocks.size());
  kOperations.sum_products(values.data(), others.data(), blocks, by_torch);
  kOperations.sum_products(values.data(), others.data(), blocks, again);
  cpu_device().sum_products(values.data(), others.data(), blocks, by_host);
  for (size_t i = 0; i < blocks.size(); ++i) ASSERT_NEAR(by_torch[i], by_host[i], 1e-13 * by_host[i]) << i;
  EXPECT_EQ(by_torch, again);
  EXPECT_EQ(values, before);
}

TEST(TensorOperationsTest, SumsNoBlocks) { EXPECT_NO_THROW(kOperations.sum_products(nullptr, nullptr, {}, {})); }

}  // namespace
}  // namespace trainhost
