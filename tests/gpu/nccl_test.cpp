// A group over NCCL with one rank, against a process that trains alone.
#include <memory>

#include <gtest/gtest.h>

#include "collectives/join.h"
#include "device/device.h"
#include "support/device_under_test.h"
#include "support/launched_ranks.h"

namespace trainhost {
namespace {

constexpr size_t kCount = 1000003;

class NcclTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = test::no_gpu(); !reason.empty()) GTEST_SKIP() << reason;
    auto channel = ControlChannel::connect({}, test::short_settings());
    ASSERT_TRUE(channel) << channel.error().message;
    channel_ = *std::move(channel);
    auto device = open_cuda_device(0);
    ASSERT_TRUE(device) << device.error().message;
    device_ = *std::move(device);
    auto group = join_on_device(*device_, single_process(), test::short_settings(), *channel_);
    ASSERT_TRUE(group) << group.error().message;
    group_ = *std::move(group);
    values_ = static_cast<float *>(device_->allocate(kCount * sizeof(float)));
    others_ = static_cast<float *>(device_->allocate(kCount * sizeof(float)));
  }
  void TearDown() override {
    if (!device_) return;
    EXPECT_TRUE(device_->synchronise());
    group_.reset();
    device_->deallocate(values_, kCount * sizeof(float));
    device_->deallocate(others_, kCount * sizeof(float));
  }

  std::vector<float> downloaded(const float *values) {
    std::vector<float> on_host(kCount);
    device_->download(on_host.data(), values, kCount * sizeof(float));
    return on_host;
  }
  // What both kinds of group do with a piece of their buffers.
  void expect_as_alone(ProcessGroup &group) {
    const std::vector<size_t> cuts{0, kCount};
    const auto alone = single_process();
    auto host = test::many_floats(kCount);
    std::vector<float> received(kCount);
    device_->upload(values_, host.data(), kCount * sizeof(float));
    device_->fill(others_, -1, kCount);
    ASSERT_TRUE(group.all_gather({values_, kCount}, cuts)->wait());
    ASSERT_TRUE(group.exchange({values_, kCount}, cuts, {others_, kCount})->wait());
    ASSERT_TRUE(alone->all_gather(host, cuts)->wait());
    ASSERT_TRUE(alone->exchange(host, cuts, received)->wait());
    EXPECT_EQ(downloaded(values_), host);
    EXPECT_EQ(downloaded(others_), received);
  }

  // In the order in which they are made; the group ends first.
  std::unique_ptr<ControlChannel> channel_;
  std::unique_ptr<Device> device_;
  float *values_ = nullptr, *others_ = nullptr;
  std::unique_ptr<ProcessGroup> group_;
};

TEST_F(NcclTest, DoesWhatAProcessAloneDoes) {
  EXPECT_EQ(group_->rank(), 0u);
  EXPECT_EQ(group_->size(), 1u);
  expect_as_alone(*group_);
}

TEST_F(NcclTest, IsOrderedWithTheDevicesStream) {
  const std::vector<size_t> cuts{0, kCount};
  for (int round = 0; round < 200; ++round) {  // without waiting on the host: what comes before is seen, what comes after is not
    device_->fill(values_, static_cast<float>(round), kCount);
    auto pending = group_->exchange({values_, kCount}, cuts, {others_, kCount});
    ASSERT_TRUE(pending->wait());
    device_->add(others_, values_, kCount);
  }
  EXPECT_EQ(downloaded(others_), std::vector<float>(kCount, 2 * 199.0f));
}

TEST_F(NcclTest, MovesNothing) {
  const std::vector<size_t> cuts{0, 0};
  EXPECT_TRUE(group_->all_gather({}, cuts)->wait());
  EXPECT_TRUE(group_->exchange({}, cuts, {})->wait());
}

TEST_F(NcclTest, GathersByTheHost) {
  const double numbers[] = {1.5, -2};
  EXPECT_EQ(*group_->gather(numbers), (std::vector<double>{1.5, -2}));
  EXPECT_EQ(*group_->gather(std::string("text")), std::vector<std::string>{"text"});
}

TEST_F(NcclTest, PartsDoTheSame) {
  auto part = group_->split(7);
  ASSERT_TRUE(part) << part.error().message;
  EXPECT_EQ((*part)->size(), 1u);
  expect_as_alone(**part);
  ASSERT_TRUE(device_->synchronise());
}

}  // namespace
}  // namespace trainhost
