#include "evaluate/epoch_account.h"

#include <algorithm>
#include <optional>

#include <gtest/gtest.h>

#include "unit/data/stream_under_test.h"

namespace trainhost {
namespace {

// A15: what is left of the worth of text that was read 2, 4, 8, 16 and 40 times.
TEST(EffectiveTokens, FollowTheLawOfRepetition) {
  for (const auto &[epochs, share] : {std::pair{1.0, 1.0}, {2, 0.984}, {4, 0.931}, {8, 0.828}, {16, 0.661}, {40, 0.379}}) {
    EXPECT_NEAR(effective_tokens(1000, 1000 * epochs) / (1000 * epochs), share, 5e-4) << epochs;
    EXPECT_NEAR(epochs_read("a", 1000, epochs).effective_share, share, 5e-4) << epochs;
  }
}

TEST(EffectiveTokens, AreAllOfThemUntilTextComesAgain) {
  const auto row = epochs_read("a", 1000, 0.25);
  EXPECT_EQ(row.tokens_read, 250u);
  EXPECT_EQ(row.unique_tokens, 250u);
  EXPECT_EQ(row.effective_share, 1);
  EXPECT_EQ(epochs_read("a", 1000, 0).effective_share, 1);
}

class EpochReports : public MetricSink {
 public:
  void step(const StepReport &) override {}
  void evaluation(const EvaluationReport &) override {}
  void epochs(const EpochReport &report) override { all.push_back(report); }
  std::vector<EpochReport> all;
};

// A run of 160 steps of 4 windows, half of them from "scarce", 8 windows long, which is read 40 times; "other" has 320. Then 40 steps of it
// alone.
class EpochAccountTest : public testing::Test {
 protected:
  EpochAccountTest() : data({{"scarce", 8}, {"other", 320}}) {
    data.add_phase("both", 32 * 160, {{"scarce", 0.5}, {"other", 0.5}});
    data.add_phase("other alone", 32 * 200, {{"other", 1}});
    stream = data.stream();
    reporter.show_on(&reports);
    account.emplace(EpochAccount::Parts{data.recipe(), data.axis(), data.data(), *stream, reporter, true});
  }

  // Goes to the step with a training loss, and finds held-out losses of so many nats/token in windows of unlike lengths.
  void evaluate(uint64_t step, double training, double scarce, double other = 1) {
    const std::vector<double> tokens{30, 40, 50, 60};
    std::vector<HeldOutLosses> losses;
    for (const auto &[name, loss] : {std::pair{"scarce", scarce}, {"other", other}}) {
      losses.push_back({name, {}, tokens, 500});
      for (size_t i = 0; i < tokens.size(); ++i) losses.back().losses.push_back(tokens[i] * (loss + 0.001 * static_cast<double>(i)));
    }
    losses[0].losses[0] += 0.01 * static_cast<double>(step % 7);  // so that a difference has an error
    state.step = step;
    StepReport report;
    report.loss = training;
    ASSERT_TRUE(account->after_step(state, report));
    ASSERT_TRUE(account->measured(state, losses));
  }

  StreamUnderTest data;
  std::unique_ptr<SampleStream> stream;
  Reporter reporter;
  EpochReports reports;
  std::optional<EpochAccount> account;
  TrainState state;
};

TEST_F(EpochAccountTest, CountsExactly) {  // A15
  evaluate(12, 3, 3);
  evaluate(13, 3, 3);
  const auto &three = reports.all.at(0).rows, &more = reports.all.at(1).rows;
  const uint64_t scarce = data.data().sources[0].training->tokens(), other = data.data().sources[1].training->tokens();
  EXPECT_EQ(reports.all[0].step, 12u);
  EXPECT_EQ(reports.all[0].tokens, 12u * 32);
  EXPECT_EQ(three[0].source, "scarce");
  EXPECT_EQ(three[0].epochs, 3);
  EXPECT_EQ(three[0].unique_tokens, scarce);
  EXPECT_EQ(three[0].tokens_read, 3 * scarce);
  EXPECT_EQ(three[1].epochs, 24.0 / 320);
  EXPECT_EQ(three[1].tokens_read, other * 24 / 320);
  EXPECT_EQ(three[1].unique_tokens, other * 24 / 320);
  EXPECT_EQ(more[0].epochs, 3.25);
}

TEST_F(EpochAccountTest, WarnsOnceOfTextReadTooOften) {
  testing::internal::CaptureStderr();
  evaluate(16, 3, 3);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "four times are free";
  testing::internal::CaptureStderr();
  evaluate(17, 3, 3);
  evaluate(32, 3, 3);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("source \"scarce\" has been read 4.2 times (its epochs_at_most is 4): what it gives is worth 92.5% of new text"),
            std::string::npos)
      << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST_F(EpochAccountTest, WarnsBeforeTheRun) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(account->begin(state));
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("source \"scarce\" will be read 40.0 times by the end of the run (its epochs_at_most is 4): "
                      "what it gives is worth 37.9% of new text"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("\"other\""), std::string::npos) << text;
  data.recipe().sources[0].epochs_at_most = 40;
  testing::internal::CaptureStderr();
  ASSERT_TRUE(account->begin(state));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// What the account says of overfitting when the losses after so many epochs are these.
struct Evaluation {
  uint64_t step;
  double training, scarce, other = 1;
};

class OverfittingTest : public EpochAccountTest {
 protected:
  std::string said(const std::vector<Evaluation> &evaluations) {
    for (Source &source : data.recipe().sources) source.epochs_at_most = 1000;
    testing::internal::CaptureStderr();
    for (const auto &[step, training, scarce, other] : evaluations) evaluate(step, training, scarce, other);
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(OverfittingTest, IsSaidOnceWhenHeldOutLossRisesWhileTrainingLossFalls) {  // A15
  const std::string text = said({{40, 2.5, 2.6}, {80, 2.0, 2.4}, {120, 1.5, 2.7}, {160, 1.0, 3.0}});
  EXPECT_NE(text.find("source \"scarce\" is being overfitted after 30.0 epochs: its held-out loss is 0.2999 nats/token above its lowest"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("of token 2560"), std::string::npos) << text;
  EXPECT_NE(text.find("while the training loss fell from 2.0000 to 1.5000"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST_F(OverfittingTest, IsNotSaidWhileBothFall) { EXPECT_EQ(said({{4, 2.5, 2.6}, {8, 2.0, 2.4}, {160, 1.5, 2.3}}), ""); }

TEST_F(OverfittingTest, IsNotSaidOfARiseByChance) { EXPECT_EQ(said({{40, 2.5, 2.4}, {41, 2.0, 2.4 + 1e-5}}), ""); }

TEST_F(OverfittingTest, IsNotSaidWhenTheTrainingLossRisesToo) { EXPECT_EQ(said({{40, 2.0, 2.4}, {80, 2.5, 2.9}}), ""); }

TEST_F(OverfittingTest, IsNotSaidOfTextReadOnce) { EXPECT_EQ(said({{40, 2.5, 2.6, 2.0}, {80, 2.0, 2.6, 2.5}}), ""); }

TEST_F(OverfittingTest, IsNotSaidOfTextThatIsForgotten) { EXPECT_EQ(said({{160, 2.5, 2.6}, {200, 2.0, 3.0}}), ""); }

TEST_F(OverfittingTest, GoesOnAfterAResume) {
  EXPECT_EQ(said({{40, 2.5, 2.6}, {80, 2.0, 2.4}}), "");
  state = TrainState::from_json(state.to_json(), 80).value();
  account.emplace(EpochAccount::Parts{data.recipe(), data.axis(), data.data(), *stream, reporter, true});
  EXPECT_NE(said({{120, 1.5, 2.7}}).find("above its lowest, of token 2560"), std::string::npos);
}

// A run that was stopped right before an evaluation knows what it trained on since the one before.
TEST_F(EpochAccountTest, AResumedRunKnowsTheTrainingLoss) {
  evaluate(12, 3, 3);
  StepReport report;
  for (const double loss : {2.5, 2.25}) {
    report.loss = loss;
    ASSERT_TRUE(account->after_step(state, report));
  }
  auto resumed = TrainState::from_json(state.to_json(), 14);
  ASSERT_TRUE(resumed);
  state = *std::move(resumed);
  account.emplace(EpochAccount::Parts{data.recipe(), data.axis(), data.data(), *stream, reporter, true});
  ASSERT_TRUE(account->measured(state, {{"scarce", {1, 1, 1, 1}, {30, 40, 50, 60}, 500}}));
  EXPECT_EQ(state.lowest_held_out["scarce"].training_loss, (2.5 + 2.25) / 2);
  EXPECT_EQ(state.since_evaluation, RunningLoss());
}

}  // namespace
}  // namespace trainhost
