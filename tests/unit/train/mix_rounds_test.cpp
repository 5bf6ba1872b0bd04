// Rounds of the mixer of tests/fixtures/plugins/loss_weighted_mixer.cpp, whose shares follow a closed form.
#include "train/mix_rounds.h"

#include <cmath>
#include <mutex>

#include <gtest/gtest.h>

#include "support/fixture_plugin.h"
#include "support/thread_group.h"
#include "unit/data/stream_under_test.h"

namespace trainhost {
namespace {

class MixReports : public MetricSink {
 public:
  void step(const StepReport &) override {}
  void evaluation(const EvaluationReport &) override {}
  void mix(const MixReport &report) override { all.push_back(report); }
  std::vector<MixReport> all;
};

// Rounds of five steps; a phase of 12 steps and one of 8.
class MixRoundsTest : public testing::Test {
 protected:
  static std::unique_ptr<PluginInstance> loss_weighted() {
    Recipe recipe;
    recipe.run.tokens = 32;
    recipe.packing.sequence_length = 8;
    recipe.training.batch = Batch::constant(32);
    recipe.phases.emplace_back();
    static const TokenAxis axis(recipe);
    return plugin_under_test(PluginKind::kDatasetMixer, fixture_plugin("loss_weighted"), {{"round", std::string("160 tokens")}}, &axis);
  }

  explicit MixRoundsTest(std::unique_ptr<PluginInstance> mixer = loss_weighted()) : data({{"a", 30}, {"b", 50}}, std::move(mixer)) {
    data.add_phase("one", 32 * 12, {{"a", 0.5}, {"b", 0.5}});
    data.add_phase("two", 32 * 20, {{"a", 0.2}, {"b", 0.8}});
    stream = data.stream();
    reporter.show_on(&reports);
  }

  MixRounds rounds(ProcessGroup &world) { return MixRounds({data.recipe(), data.axis(), data.mixer(), *stream, world, reporter}); }
  uint64_t enter(TrainState &state) { return rounds(*process).enter(state).value(); }

  StreamUnderTest data;
  std::unique_ptr<SampleStream> stream;
  std::unique_ptr<ProcessGroup> process = single_process();
  Reporter reporter;
  MixReports reports;
};

// Of `share` and the mean losses with the plugin's step size of 0.5.
std::vector<double> closed_form(const std::vector<double> &shares, const std::vector<double> &means) {
  const double a = shares[0] * std::exp(0.5 * means[0]), b = shares[1] * std::exp(0.5 * means[1]);
  return {a / (a + b), b / (a + b)};
}

void expect_near(const std::vector<double> &found, const std::vector<double> &expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-14);
}

TEST_F(MixRoundsTest, EndWithTheirTokensAndWithTheirPhase) {
  TrainState state;
  std::vector<uint64_t> ends;
  while (state.step < data.axis().total_steps()) {
    EXPECT_TRUE(rounds(*process).begins(state));
    ends.push_back(enter(state));
    EXPECT_EQ(state.mix->round.number, ends.size() - 1);
    EXPECT_EQ(state.mix->round.first_step, state.step);
    EXPECT_EQ(state.mix->round.start, stream->positions(state.step).value()) << "each source is read on";
    state.step = ends.back() - 1;
    EXPECT_FALSE(rounds(*process).begins(state));
    EXPECT_EQ(enter(state), ends.back()) << "as a resumed run enters it";
    ++state.step;
  }
  EXPECT_EQ(ends, (std::vector<uint64_t>{5, 10, 12, 17, 20}));
  EXPECT_EQ(reports.all.size(), ends.size()) << "each round is reported once";
}

TEST_F(MixRoundsTest, AreToldTheMeanLossesOfTheRoundBefore) {
  TrainState state;
  enter(state);
  EXPECT_EQ(state.mix->round.weights, (std::vector<double>{0.5, 0.5}));
  state.mix->add(0, 30, 10);
  state.mix->add(0, 10, 10);
  state.mix->add(1, 100, 20);
  state.step = 5;
  enter(state);
  expect_near(state.mix->round.weights, closed_form({0.5, 0.5}, {2, 5}));
  EXPECT_EQ(state.mix->tokens, (std::vector<uint64_t>{0, 0})) << "the sums begin anew";
  EXPECT_EQ(state.mix->losses, (std::vector<double>{0, 0}));
  state.mix->add(1, 7, 1);
  state.step = 10;
  enter(state);
  expect_near(state.mix->round.weights, closed_form({0.5, 0.5}, {2 / 2.0, (5 + 7) / 2.0}));
  state.step = 12;
  enter(state);
  expect_near(state.mix->round.weights, closed_form({0.2, 0.8}, {2 / 2.0, (5 + 7) / 2.0}));

  ASSERT_EQ(reports.all.size(), 4u);
  const MixReport &second = reports.all[1];
  EXPECT_EQ(second.step, 5u);
  EXPECT_EQ(second.tokens, 160u);
  EXPECT_EQ(second.rows[1].source, "b");
  EXPECT_EQ(second.rows[1].loss_per_token, 5);
  EXPECT_EQ(second.rows[1].tokens, 20u);
  EXPECT_TRUE(std::isnan(reports.all[0].rows[0].loss_per_token));
  EXPECT_TRUE(std::isnan(reports.all[3].rows[0].loss_per_token));
  EXPECT_EQ(reports.all[3].rows[0].weight, state.mix->round.weights[0]);
}

TEST_F(MixRoundsTest, AreTheSameFromACheckpointOn) {
  TrainState state;
  for (const uint64_t step : {0u, 5u, 10u}) {
    state.step = step;
    enter(state);
    state.mix->add(0, 3.25 * static_cast<double>(step + 1), 3);
    state.mix->add(1, 1.0 / 3, 1);
  }
  for (const uint64_t step : {11u, 12u}) {  // in a round, and at the end of one
    state.step = step;
    TrainState resumed = TrainState::from_json(state.to_json(), step).value();
    const auto other = data.stream();
    ASSERT_TRUE(MixRounds({data.recipe(), data.axis(), data.mixer(), *other, *process, reporter}).enter(resumed));
    TrainState undisturbed = state;
    enter(undisturbed);
    EXPECT_EQ(resumed.to_json(), undisturbed.to_json());
    EXPECT_EQ(other->step(step)->micro_batches[0].samples, stream->step(step)->micro_batches[0].samples);
  }
}

// Only rank 0's mixer is asked; a run on other numbers of ranks is the same.
TEST_F(MixRoundsTest, AreTheSameOnAllRanks) {
  std::mutex mutex;
  std::vector<std::string> states;
  test::run_ranks(3, [&](ProcessGroup &world) {
    TrainState state;
    std::unique_ptr<SampleStream> own;
    {
      const std::lock_guard lock(mutex);
      own = data.stream();
    }
    Reporter silent;
    MixRounds together({data.recipe(), data.axis(), data.mixer(), *own, world, silent});
    EXPECT_EQ(together.enter(state).value(), 5u);
    state.mix->add(1, 4, 2);
    state.step = 5;
    EXPECT_EQ(together.enter(state).value(), 10u);
    const std::lock_guard lock(mutex);
    states.push_back(state.to_json());
  });
  TrainState alone;
  enter(alone);
  alone.mix->add(1, 4, 2);
  alone.step = 5;
  enter(alone);
  EXPECT_EQ(states, std::vector(3, alone.to_json()));
}

TEST_F(MixRoundsTest, OfAnotherRecipeAreNotGoneOnWith) {
  TrainState state;
  state.step = 10;
  enter(state);
  ASSERT_EQ(state.mix->round.end_step, 12u);
  state.mix->round.end_step = 14;  // as of a recipe with a longer first phase
  state.mix->add(1, 4, 2);
  state.step = 11;
  EXPECT_EQ(enter(state), 12u);
  EXPECT_EQ(state.mix->round.first_step, 11u);
  expect_near(state.mix->round.weights, closed_form({0.5, 0.5}, {0, 2}));

  state.mix->mixer_state.push_back(0);  // of another mixer
  testing::internal::CaptureStderr();
  EXPECT_EQ(enter(state), 12u);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("of other sources or of another mixer"), std::string::npos);
  EXPECT_EQ(state.mix->round.number, 0u);
  EXPECT_EQ(state.mix->round.weights, (std::vector<double>{0.5, 0.5}));
}

class PlainMixerTest : public MixRoundsTest {
 protected:
  PlainMixerTest() : MixRoundsTest(plugin_under_test(PluginKind::kDatasetMixer, "weighted")) {}
};

TEST_F(PlainMixerTest, HasNoRounds) {
  TrainState state;
  state.mix.emplace();  // of a mixer that the run had before
  EXPECT_FALSE(rounds(*process).begins(state));
  EXPECT_EQ(enter(state), 20u);
  EXPECT_FALSE(state.mix);
  EXPECT_TRUE(reports.all.empty());
}

}  // namespace
}  // namespace trainhost
