#include "train/train_state.h"

#include <cmath>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

TEST(TrainState, ReadsBackToTheSameBits) {
  TrainState state;
  state.updates = 41;
  state.evaluated_step = 40;
  state.rollbacks = 2;
  state.skipped = {{3, 5}, {17, 18}};
  for (int i = 0; i < 50; ++i) state.spikes.judge(std::exp(std::sin(i)), 1.0 / (i + 3));
  const auto back = TrainState::from_json(state.to_json(), 43);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->step, 43u);
  EXPECT_EQ(back->to_json(), state.to_json());
  EXPECT_EQ(back->spikes.losses, state.spikes.losses);
  EXPECT_EQ(back->spikes.gradient_norms, state.spikes.gradient_norms);
}

TEST(TrainState, KnowsSkippedSteps) {
  TrainState state;
  state.skipped = {{3, 5}};
  EXPECT_FALSE(state.is_skipped(2));
  EXPECT_TRUE(state.is_skipped(3));
  EXPECT_TRUE(state.is_skipped(4));
  EXPECT_FALSE(state.is_skipped(5));
}

TEST(TrainState, SaysWhatIsMissing) {
  const auto state = TrainState::from_json(R"({"updates": 3})", 0);
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().kind, ErrorKind::kData);
  EXPECT_NE(state.error().message.find("evaluated_step"), std::string::npos) << state.error().message;
}

}  // namespace
}  // namespace trainhost
