#include "checkpoint/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainhost {
namespace {

using Steps = std::vector<uint64_t>;

// Steps 10, 20, 30, 40, 50; those in `damaged` cannot be used, 20 is labelled "warm" and 30 "stable".
Steps expired_steps(uint32_t keep, const std::vector<std::string> &always_keep, std::optional<uint64_t> newest_verified,
                    const Steps &damaged = {}) {
  std::vector<CheckpointInfo> checkpoints;
  for (const uint64_t step : {10, 20, 30, 40, 50}) {
    CheckpointInfo info;
    info.step = step;
    if (std::count(damaged.begin(), damaged.end(), step))
      info.problem = "damaged";
    else
      info.label = step == 20 ? "warm" : step == 30 ? "stable" : "";
    checkpoints.push_back(info);
  }
  Steps steps;
  for (const CheckpointInfo &info : expired(checkpoints, keep, always_keep, newest_verified)) steps.push_back(info.step);
  return steps;
}

TEST(Retention, KeepsTheNewest) {
  EXPECT_EQ(expired_steps(0, {}, std::nullopt), (Steps{10, 20, 30, 40, 50}));
  EXPECT_EQ(expired_steps(1, {}, 50), (Steps{10, 20, 30, 40}));
  EXPECT_EQ(expired_steps(3, {}, 50), (Steps{10, 20}));
  EXPECT_EQ(expired_steps(5, {}, 50), Steps{});
  EXPECT_EQ(expired_steps(9, {}, 50), Steps{});
}

TEST(Retention, KeepsLabels) {
  EXPECT_EQ(expired_steps(1, {"stable"}, 50), (Steps{10, 20, 40}));
  EXPECT_EQ(expired_steps(1, {"stable", "warm"}, 50), (Steps{10, 40}));
  EXPECT_EQ(expired_steps(1, {"other"}, 50), (Steps{10, 20, 30, 40}));
}

TEST(Retention, KeepsTheNewestVerifiedWhateverElse) {
  EXPECT_EQ(expired_steps(0, {}, 50), (Steps{10, 20, 30, 40}));
  EXPECT_EQ(expired_steps(1, {}, 10), (Steps{20, 30, 40}));
  EXPECT_EQ(expired_steps(2, {"stable"}, 20), Steps{10});
}

TEST(Retention, DoesNotCountDamagedOnes) {
  EXPECT_EQ(expired_steps(2, {}, 40, {50}), (Steps{10, 20}));
  EXPECT_EQ(expired_steps(1, {}, 30, {50, 40}), (Steps{10, 20}));
  EXPECT_EQ(expired_steps(2, {}, 50, {20}), (Steps{10, 20, 30}));
  EXPECT_EQ(expired_steps(1, {"stable"}, 50, {30}), (Steps{10, 20, 30, 40}));  // its label cannot be trusted
}

}  // namespace
}  // namespace trainhost
