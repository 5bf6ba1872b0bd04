#include "train/spike_guard.h"

#include <gtest/gtest.h>

namespace trainhost {
namespace {

// Losses 1, 3, 1, 3 ...: mean 2, standard deviation 1, so the bound is 8.
SpikeGuard guard_after(size_t values) {
  SpikeGuard guard;
  for (size_t i = 0; i < values; ++i) EXPECT_EQ(guard.judge(i % 2 == 0 ? 1 : 3, 1), "");
  return guard;
}

TEST(SpikeGuard, NamesALossBeyondSixDeviations) {
  SpikeGuard guard = guard_after(128);
  EXPECT_EQ(guard.judge(7.99, 1), "");
  guard = guard_after(128);
  EXPECT_EQ(guard.judge(9, 1), "loss 9 is 7.0 standard deviations above its mean of 2");
}

TEST(SpikeGuard, JudgesTheGradientNormToo) {
  SpikeGuard guard;
  for (int i = 0; i < 40; ++i) guard.judge(5, i % 2 == 0 ? 1 : 3);
  EXPECT_EQ(guard.judge(5, 10), "gradient norm 10 is 8.0 standard deviations above its mean of 2");
}

TEST(SpikeGuard, IsSilentUntilItKnows32Values) {
  SpikeGuard guard = guard_after(31);
  EXPECT_EQ(guard.judge(1e9, 1), "");
}

TEST(SpikeGuard, AcceptsALastingChangeOfLevel) {
  SpikeGuard guard = guard_after(128);
  int spikes = 0;
  for (int i = 0; i < 128; ++i) spikes += !guard.judge(20, 1).empty();
  EXPECT_GT(spikes, 0);
  EXPECT_LT(spikes, 10);
}

}  // namespace
}  // namespace trainhost
