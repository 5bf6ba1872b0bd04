// Batches that grow by themselves, with losses and schedules whose places to grow are known.
#include "train/batch_growth.h"

#include <cmath>

#include <gtest/gtest.h>

#include "support/plugin_under_test.h"
#include "unit/data/stream_under_test.h"

namespace trainhost {
namespace {

class BatchReports : public MetricSink {
 public:
  void step(const StepReport &) override {}
  void evaluation(const EvaluationReport &) override {}
  void batch(const BatchReport &report) override { all.push_back(report); }
  std::vector<BatchReport> all;
};

// Steps of 16 tokens that may grow to 128, over 6,400 tokens.
class BatchGrowthTest : public testing::Test {
 protected:
  explicit BatchGrowthTest() {
    data.recipe().training.batch = {.rule = "stall", .tokens = 16, .most = 128, .every = Amount{10, Amount::Unit::kSteps, "", {}}};
    data.add_phase("train", 6400, {{"a", 1}});
    reporter.show_on(&reports);
  }

  void schedule(const std::string &name, const std::map<std::string, ParameterValue> &settings) {
    stream = data.stream();
    phases.schedulers = {
        LrScheduler::create(plugin_under_test(PluginKind::kLrScheduler, name, settings, &data.axis()), data.axis().progress(0)).value()};
  }
  BatchGrowth growth() { return BatchGrowth({data.recipe(), data.axis(), *stream, phases, *process, reporter}); }

  // Trains up to `end`, as the trainer does: asks only where the batch is no longer settled. The loss is a function of the tokens.
  template <class Loss>
  void train(TrainState &state, uint64_t end, Loss &&loss) {
    for (uint64_t settled = state.step; state.step < std::min(end, data.axis().total_steps());) {
      if (state.step == settled) settled = growth().enter(state).value();
      ASSERT_GT(settled, state.step);
      growth().learn(state, 0, loss(static_cast<double>(data.axis().tokens_at_step(state.step))));
      ++state.step;
    }
  }

  std::vector<std::pair<uint64_t, uint64_t>> grown() const {  // token and tokens in a step
    std::vector<std::pair<uint64_t, uint64_t>> places;
    for (const BatchReport &report : reports.all) places.emplace_back(report.tokens, report.after);
    return places;
  }
  using Places = std::vector<std::pair<uint64_t, uint64_t>>;

  StreamUnderTest data{{{"a", 900}}};
  std::unique_ptr<SampleStream> stream;
  PhaseParts phases;
  std::unique_ptr<ProcessGroup> process = single_process();
  Reporter reporter;
  BatchReports reports;
};

// A26: stall-triggered. The loss falls by a tenth a look up to token 960, then stands still.
TEST_F(BatchGrowthTest, DoublesWhenTheLossStandsStill) {
  schedule("constant", {{"lr", 1.0}});
  TrainState state;
  train(state, 1000, [](double tokens) { return 4 * std::pow(0.9, std::min(tokens, 960.0) / 160); });
  // Looks are every ten steps: the window from 960 is the first whose mean is not lower by a hundredth, seen at 1,120 + 160.
  EXPECT_EQ(grown(), (Places{{1280, 32}, {1600, 64}, {2240, 128}}));
  EXPECT_EQ(data.axis().total_steps(), 80u + 10 + 10 + (6400 - 2240 + 127) / 128);
  EXPECT_EQ(reports.all[0].before, 16u);
  EXPECT_EQ(reports.all[2].total_steps, data.axis().total_steps());
}

// A26: by MiniCPM's law, as far as it goes at once.
TEST_F(BatchGrowthTest, FollowsTheLawOfTheLoss) {
  Batch &batch = data.recipe().training.batch;
  batch.rule = "loss";
  batch.scale = 1000;
  batch.exponent = 2;
  schedule("constant", {{"lr", 1.0}});
  TrainState state;
  // The law says 40 tokens at a loss of 5, and 250 at 2.
  train(state, 1000, [](double tokens) { return tokens < 640 ? 9.0 : tokens < 1440 ? 5.0 : 2.0; });
  EXPECT_EQ(grown(), (Places{{800, 32}, {1760, 128}}));
}

// A26: Seesaw. A cosine from 1 to 0 over the run is at 1/2, 1/4, 1/8 after acos(2^(1 - k) - 1) / pi of it.
TEST_F(BatchGrowthTest, DoublesWhereTheLearningRateHasHalved) {
  data.recipe().training.batch = {.rule = "seesaw", .tokens = 16, .most = 128};
  schedule("cosine", {{"peak_lr", 1.0}, {"warmup", std::string("1 step")}, {"floor", 0.0}});
  TrainState state;
  train(state, 1000, [](double) { return 1.0; });
  ASSERT_EQ(reports.all.size(), 3u);
  for (size_t k = 1; k <= 3; ++k) {
    const BatchReport &report = reports.all[k - 1];
    const double place = 6400 * std::acos(2 * std::pow(0.5, k) - 1) / M_PI;
    EXPECT_GE(static_cast<double>(report.tokens), place - 1e-6) << k;
    EXPECT_LE(static_cast<double>(report.tokens), place + static_cast<double>(report.before)) << k;
    EXPECT_EQ(report.after, 16u << k);
    EXPECT_NEAR(growth().learning_rate_factor(report.step), std::pow(2, 0.5 * static_cast<double>(k)), 1e-15);
    EXPECT_NEAR(growth().learning_rate_factor(report.step - 1), std::pow(2, 0.5 * static_cast<double>(k - 1)), 1e-15);
  }
}

TEST_F(BatchGrowthTest, IsTheSameFromACheckpointOn) {
  schedule("constant", {{"lr", 1.0}});
  const auto loss = [](double tokens) { return 4 * std::pow(0.9, std::min(tokens, 960.0) / 160); };
  TrainState undisturbed;
  train(undisturbed, 1000, loss);
  const auto places = grown();
  for (const uint64_t step : {3u, 79u, 80u, 85u, 90u, 100u}) {
    reports.all.clear();
    schedule("constant", {{"lr", 1.0}});
    TrainState state;
    train(state, step, loss);
    schedule("constant", {{"lr", 1.0}});  // another process: axis and stream begin anew
    TrainState resumed = TrainState::from_json(state.to_json(), step).value();
    EXPECT_EQ(resumed.batch, state.batch);
    train(resumed, 1000, loss);
    EXPECT_EQ(grown(), places) << step;
    EXPECT_EQ(resumed.batch, undisturbed.batch) << step;
  }
}

}  // namespace
}  // namespace trainhost
