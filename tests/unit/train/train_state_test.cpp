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
  state.noise = {.gradient_square = std::nextafter(0.1, 1.0), .trace = -1e-310};
  const auto back = TrainState::from_json(state.to_json(), 43);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->step, 43u);
  EXPECT_EQ(back->to_json(), state.to_json());
  EXPECT_EQ(back->noise.gradient_square, state.noise.gradient_square);
  EXPECT_EQ(back->noise.trace, state.noise.trace);
  EXPECT_EQ(back->spikes.losses, state.spikes.losses);
  EXPECT_EQ(back->spikes.gradient_norms, state.spikes.gradient_norms);
}

TrainState state_in_a_round() {
  TrainState state;
  state.step = 43;
  state.mix = MixProgress{.round = {.number = 6,
                                    .first_step = 40,
                                    .end_step = 47,
                                    .weights = {1.0 / 3, 2.0 / 3, 0},
                                    .start = {{2, 17, 40}, {0, (uint64_t{1} << 60) + 1, uint64_t{1} << 61}, {}}},
                          .mixer_state = {std::nextafter(1.0, 2.0), -1e-310, 1e300},
                          .losses = {0, 0, 0},
                          .tokens = {0, 0, 0}};
  for (int i = 0; i < 3; ++i) state.mix->add(1, std::exp(std::sin(i)) * 1000, 999);
  return state;
}

TEST(TrainState, KeepsTheRoundOfAMixer) {
  const TrainState state = state_in_a_round();
  const auto back = TrainState::from_json(state.to_json(), 43);
  ASSERT_TRUE(back) << back.error().message;
  ASSERT_TRUE(back->mix);
  EXPECT_EQ(back->mix->round, state.mix->round);
  EXPECT_EQ(back->mix->mixer_state, state.mix->mixer_state);
  EXPECT_EQ(back->mix->losses, state.mix->losses);
  EXPECT_EQ(back->mix->tokens, (std::vector<uint64_t>{0, 2997, 0}));
  EXPECT_EQ(back->to_json(), state.to_json());
  EXPECT_EQ(TrainState().to_json().find("mix"), std::string::npos) << "other runs keep their checkpoints as they are";
  EXPECT_FALSE(TrainState::from_json(TrainState().to_json(), 0)->mix);
}

TEST(TrainState, KeepsTheRoundWhereStepsHaveOtherNumbers) {
  const auto back = TrainState::from_json(state_in_a_round().to_json(), 22);  // in a recipe with larger batches before
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->mix->round.first_step, 19u);
  EXPECT_EQ(back->mix->round.end_step, 26u);
}

TEST(MixProgress, AddsNothingThatIsNotFinite) {
  MixProgress mix{.round = {}, .mixer_state = {}, .losses = {1, 2}, .tokens = {3, 4}};
  mix.add(0, std::nan(""), 5);
  mix.add(1, 10, 6);
  EXPECT_EQ(mix.losses, (std::vector<double>{1, 12}));
  EXPECT_EQ(mix.tokens, (std::vector<uint64_t>{3, 10}));
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
