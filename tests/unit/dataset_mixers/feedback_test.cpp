#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "plugin_host/adapters/dataset_mixer.h"
#include "recipe/token_axis.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// A run of 102,400 tokens, of which a round is 1 %.
const TokenAxis &axis() {
  static const TokenAxis axis = [] {
    Recipe recipe;
    recipe.run.tokens = 102'400;
    recipe.training.batch = Batch::constant(1024);
    recipe.packing.sequence_length = 32;
    recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
    return TokenAxis(recipe);
  }();
  return axis;
}

std::unique_ptr<DatasetMixer> feedback(size_t sources, std::map<std::string, ParameterValue> parameters = {}) {
  auto plugin = plugin_under_test(PluginKind::kDatasetMixer, "feedback", std::move(parameters), &axis());
  return DatasetMixer::create(std::move(plugin), std::vector<MixerSource>(sources, {"s", "en", "ordinary", 1000}), 42).value();
}

PhaseMix phase_of(std::vector<double> weights) {
  PhaseMix mix;
  mix.windows.assign(weights.size(), 1000);
  mix.samples = 10'000;
  mix.weights = std::move(weights);
  return mix;
}

// Shares of a run's first round.
std::vector<double> first_shares(const DatasetMixer &mixer, const PhaseMix &phase, std::vector<double> &state) {
  const size_t sources = phase.weights.size();
  std::vector<double> weights(sources);
  const RoundBefore none{
      .round = 0, .weights = phase.weights, .losses = std::vector<double>(sources, kUnknown), .tokens = std::vector<uint64_t>(sources)};
  EXPECT_TRUE(mixer.next_round(phase, none, state, weights));
  return weights;
}

TEST(Feedback, FollowsTheTracesOfNumpy) {
  std::ifstream file(TRAINHOST_SOURCE_DIR "/tests/golden/mixers/online_data_mixing.json");
  const auto traces = nlohmann::json::parse(file).at("traces");
  ASSERT_EQ(traces.size(), 4u);
  for (const auto &[name, trace] : traces.items()) {
    const PhaseMix phase = phase_of(trace.at("recipe").get<std::vector<double>>());
    const size_t sources = phase.weights.size();
    const auto mixer =
        feedback(sources, {{"reward_per_nat", trace.at("reward_per_nat").get<double>()}, {"prior", trace.at("prior").get<double>()}});
    std::vector<double> state(mixer->rounds()->state_size), weights = first_shares(*mixer, phase, state);
    for (size_t round = 0;; ++round) {
      const auto &recorded = trace.at("rounds").at(round);
      for (size_t i = 0; i < sources; ++i) {
        ASSERT_NEAR(weights[i], recorded.at("shares").at(i).get<double>(), 1e-12) << name << ", round " << round << ", source " << i;
      }
      if (round + 1 == trace.at("rounds").size()) break;
      RoundBefore before{.round = round + 1, .weights = weights, .losses = {}, .tokens = {}};
      for (const auto &loss : recorded.at("losses")) {
        before.losses.push_back(loss.is_null() ? kUnknown : loss.get<double>());
        before.tokens.push_back(loss.is_null() ? 0 : 100);
      }
      ASSERT_TRUE(mixer->next_round(phase, before, state, weights));
    }
  }
}

// The fixed point of the bandit: rewards of loss / share grow alike.
TEST(Feedback, SharesGoToTheSourceWithTheHigherLoss) {
  const auto mixer = feedback(2);
  const PhaseMix phase = phase_of({0.9, 0.1});
  std::vector<double> state(3), weights = first_shares(*mixer, phase, state);
  EXPECT_EQ(weights, (std::vector<double>{0.5, 0.5}));
  for (uint64_t round = 1; round < 2000; ++round) {
    const RoundBefore before{.round = round, .weights = weights, .losses = {1, 3}, .tokens = {10, 10}};
    ASSERT_TRUE(mixer->next_round(phase, before, state, weights));
  }
  EXPECT_NEAR(weights[1], 0.75, 0.02);
}

TEST(Feedback, KeepsTheRecipesPartOfEachShare) {
  const auto mixer = feedback(3, {{"prior", 0.5}});
  const PhaseMix phase = phase_of({0.5, 0.4, 0.1});
  std::vector<double> state(4), weights = first_shares(*mixer, phase, state);
  for (uint64_t round = 1; round < 200; ++round) {
    const RoundBefore before{.round = round, .weights = weights, .losses = {0, 0, 8}, .tokens = {10, 10, 10}};
    ASSERT_TRUE(mixer->next_round(phase, before, state, weights));
    for (size_t i = 0; i < 3; ++i) EXPECT_GE(weights[i], phase.weights[i] / 2 * (1 - 1e-12));
  }
  EXPECT_GT(weights[2], 0.45);
}

TEST(Feedback, StaysFiniteAfterLargeRewards) {
  const auto mixer = feedback(2);
  const PhaseMix phase = phase_of({0.5, 0.5});
  std::vector<double> state{1000, 1e9, 0}, weights(2);
  const RoundBefore before{.round = 1000, .weights = {0.5, 0.5}, .losses = {1e6, 1}, .tokens = {1, 1}};
  ASSERT_TRUE(mixer->next_round(phase, before, state, weights));
  EXPECT_NEAR(weights[0], 1, 0.02);
  EXPECT_GT(weights[1], 0) << "every source is tried now and then";
}

TEST(Feedback, TakesASingleSource) {
  const auto mixer = feedback(2);
  const PhaseMix phase = phase_of({0, 1});
  std::vector<double> state(3);
  EXPECT_EQ(first_shares(*mixer, phase, state), (std::vector<double>{0, 1}));
}

TEST(Feedback, GivesEachSourceItsShareOfTheRound) {
  const auto mixer = feedback(3);
  EXPECT_EQ(mixer->rounds()->tokens, 1024);
  EXPECT_EQ(mixer->counts(phase_of({0.7, 0.2, 0.1}), 1'000'000).value(), (std::vector<uint64_t>{700'000, 200'000, 100'000}));
}

}  // namespace
}  // namespace trainhost
