// A GPU as a device, against the CPUs.
#include "device/device.h"

#include <algorithm>
#include <memory>

#include <gtest/gtest.h>

#include "device/cuda_driver.h"
#include "support/device_under_test.h"
#include "trainhost/tensor.h"

namespace trainhost {
namespace {

class GpuDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = test::no_gpu(); !reason.empty()) GTEST_SKIP() << reason;
    auto device = open_cuda_device(0);
    ASSERT_TRUE(device) << device.error().message;
    device_ = *std::move(device);
  }
  void TearDown() override {
    if (device_ != nullptr) {
      EXPECT_TRUE(device_->synchronise());
    }
  }

  // Memory of the GPU that is given back at the end.
  template <class Item>
  std::shared_ptr<Item> memory(size_t count) {
    auto *const items = static_cast<Item *>(device_->allocate(count * sizeof(Item)));
    EXPECT_NE(items, nullptr);
    return {items, [this, count](Item *given) { device_->deallocate(given, count * sizeof(Item)); }};
  }
  template <class Item>
  std::shared_ptr<Item> uploaded(const std::vector<Item> &items) {
    const auto on_gpu = memory<Item>(items.size());
    device_->upload(on_gpu.get(), items.data(), items.size() * sizeof(Item));
    return on_gpu;
  }
  template <class Item>
  std::vector<Item> downloaded(const Item *items, size_t count) {
    std::vector<Item> on_host(count);
    device_->download(on_host.data(), items, count * sizeof(Item));
    return on_host;
  }

  std::unique_ptr<Device> device_;
};

TEST_F(GpuDeviceTest, IsTheFirstGpuWithAStream) {
  EXPECT_EQ(device_->type(), TH_DEVICE_CUDA);
  EXPECT_EQ(device_->index(), 0);
  EXPECT_NE(device_->stream(), nullptr);
  EXPECT_GT(device_->available_bytes(), 0u);
  EXPECT_LE(device_->available_bytes(), cuda_driver()->devices[0].memory_bytes);
}

TEST_F(GpuDeviceTest, GivesAlignedMemoryAndTakesItBack) {
  for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
    std::vector<void *> blocks;
    for (const size_t bytes : {size_t{1}, size_t{777}, size_t{3} << 20}) {
      blocks.push_back(device_->allocate(bytes, alignment));
      ASSERT_NE(blocks.back(), nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back()) % alignment, 0u);
    }
    for (void *const block : blocks) device_->deallocate(block, 0);
  }
}

TEST_F(GpuDeviceTest, MemoryThatIsNotThereIsNull) {
  EXPECT_EQ(device_->allocate(size_t{1} << 45, 64), nullptr);
  const auto after = uploaded(std::vector<float>{1, 2, 3});
  EXPECT_EQ(downloaded(after.get(), 3), (std::vector<float>{1, 2, 3}));
}

TEST_F(GpuDeviceTest, HostMayChangeAsSoonAsUploadReturns) {
  for (const size_t count : {size_t{0}, size_t{1}, size_t{1000}, size_t{12345679}}) {
    const auto values = test::many_floats(count);
    auto host = values;
    const auto on_gpu = memory<float>(std::max<size_t>(count, 1));
    device_->upload(on_gpu.get(), host.data(), count * sizeof(float));
    std::fill(host.begin(), host.end(), -1.0f);
    EXPECT_EQ(downloaded(on_gpu.get(), count), values);
  }
}

TEST_F(GpuDeviceTest, ManySmallUploadsKeepTheirOrder) {
  constexpr size_t kUploads = 20000, kCount = 501;  // 40 MB: both halves of the staging memory, more than once
  const auto on_gpu = memory<uint32_t>(kUploads * kCount);
  std::vector<uint32_t> host(kCount);
  for (uint32_t i = 0; i < kUploads; ++i) {
    std::fill(host.begin(), host.end(), i);
    device_->upload(on_gpu.get() + i * kCount, host.data(), kCount * sizeof(uint32_t));
  }
  const auto all = downloaded(on_gpu.get(), kUploads * kCount);
  for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], i / kCount);
}

TEST_F(GpuDeviceTest, CopiesFillsAddsAndSubtractsAsTheCpusDo) {
  constexpr size_t kCount = 1000003;
  const auto values = test::many_floats(kCount);
  std::vector<float> by_host(kCount);
  cpu_device().fill(by_host.data(), 0.375f, kCount);
  cpu_device().add(by_host.data(), values.data(), kCount);
  const auto from = uploaded(values), sum = memory<float>(kCount), copied = memory<float>(kCount);
  device_->fill(sum.get(), 0.375f, kCount);
  device_->add(sum.get(), from.get(), kCount);
  device_->copy(copied.get(), sum.get(), kCount * sizeof(float));
  EXPECT_EQ(downloaded(copied.get(), kCount), by_host);
  cpu_device().subtract_from(by_host.data(), values.data(), kCount);
  device_->subtract_from(copied.get(), from.get(), kCount);
  EXPECT_EQ(downloaded(copied.get(), kCount), by_host);
}

TEST_F(GpuDeviceTest, RoundsToTheSameBits) {
  auto values = test::many_floats(100001);
  const auto hard = test::hard_to_round();
  values.insert(values.end(), hard.begin(), hard.end());
  std::vector<uint16_t> by_host(values.size());
  cpu_device().round_to_bfloat16(by_host.data(), values.data(), values.size());
  const auto from = uploaded(values);
  const auto out = memory<uint16_t>(values.size());
  device_->round_to_bfloat16(out.get(), from.get(), values.size());
  EXPECT_EQ(downloaded(out.get(), values.size()), by_host);
}

TEST_F(GpuDeviceTest, SumsSquaresInDoublePrecisionAndAlwaysTheSame) {
  const auto values = test::many_floats(9000000);
  const auto blocks = test::blocks_of(values.size());
  std::vector<double> by_gpu(blocks.size()), again(blocks.size()), by_host(blocks.size());
  cpu_device().sum_squares(values.data(), blocks, by_host);
  const auto on_gpu = uploaded(values);
  device_->sum_squares(on_gpu.get(), blocks, by_gpu);
  device_->sum_squares(on_gpu.get(), blocks, again);
  for (size_t i = 0; i < blocks.size(); ++i) ASSERT_NEAR(by_gpu[i], by_host[i], 1e-13 * by_host[i]) << i;
  EXPECT_EQ(by_gpu, again);
}

TEST_F(GpuDeviceTest, SynchroniseReportsWhatWentWrongEarlier) {
  auto other = open_cuda_device(0);
  ASSERT_TRUE(other);
  const auto values = uploaded(std::vector<float>{1});
  const std::vector<FloatRange> blocks{{0, size_t{1} << 42}};  // as doubles more than there is memory
  std::vector<double> sums(1);
  (*other)->sum_squares(values.get(), blocks, sums);
  const auto outcome = (*other)->synchronise();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, ErrorKind::kUnavailable);
  EXPECT_NE(outcome.error().message.find("out of memory"), std::string::npos) << outcome.error().message;
  EXPECT_FALSE((*other)->synchronise());  // it stays so
}

}  // namespace
}  // namespace trainhost
