// A22, A23, A36: what the metrics say of each phase, on losses whose slopes are closed forms.
#include "telemetry/phase_account.h"

#include <cmath>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

constexpr uint64_t kBatch = 1000;

struct Piece {
  std::string phase, stage;
  uint64_t steps;
  double exponent;     // of the power law that the loss follows
  double rate_at_end;  // the learning rate comes to this, in a line
};

// A run whose loss falls by one power law after the other, from 10 nats at its first step.
RunLog run_of(const std::vector<Piece> &pieces, double rate = 0.01) {
  RunLog log;
  uint64_t step = 0;
  double loss = 10;
  for (const Piece &piece : pieces) {
    const double begun = rate;
    for (uint64_t i = 1; i <= piece.steps; ++i) {
      ++step;
      if (step > 1) loss *= std::pow(static_cast<double>(step) / static_cast<double>(step - 1), piece.exponent);
      rate = begun + (piece.rate_at_end - begun) * static_cast<double>(i) / static_cast<double>(piece.steps);
      log.steps.push_back({.step = step,
                           .tokens = step * kBatch,
                           .phase = piece.phase,
                           .stage = piece.stage,
                           .batch_tokens = kBatch,
                           .loss = loss,
                           .learning_rate = rate});
    }
  }
  return log;
}

// 100 steps of warm-up, 800 of a slow fall and 100 of a fast one under a falling learning rate, with the mixes of two phases.
RunLog annealed(const std::map<std::string, double> &mix_after = {{"web", 1}}) {
  RunLog log =
      run_of({{"stable", "warmup", 100, -0.3, 0.01}, {"stable", "stable", 800, -0.05, 0.01}, {"annealing", "decay", 100, -0.6, 0.001}});
  log.phases.push_back({.step = 0, .tokens = 0, .phase = "stable", .mix = {{"web", 1}}, .overrides = {}});
  log.phases.push_back({.step = 900, .tokens = 900 * kBatch, .phase = "annealing", .mix = mix_after, .overrides = {}});
  return log;
}

TEST(PhaseAccount, CutsWherePhaseOrStageChanges) {
  const auto pieces = account_of(annealed()).pieces;
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].phase, "stable");
  EXPECT_EQ(pieces[1].stage, "stable");
  EXPECT_EQ(pieces[1].from_step, 100u);
  EXPECT_EQ(pieces[1].to_step, 900u);
  EXPECT_EQ(pieces[1].from_tokens, 100 * kBatch);
  EXPECT_EQ(pieces[1].to_tokens, 900 * kBatch);
  EXPECT_EQ(pieces[2].first_batch, kBatch);
  EXPECT_NEAR(pieces[2].first_rate, 0.01 - 0.009 / 100, 1e-15);
  EXPECT_NEAR(pieces[2].last_rate, 0.001, 1e-15);
}

TEST(PhaseAccount, A36ComparesTheSlopesOfPowerLaws) {
  const auto pieces = account_of(annealed()).pieces;
  EXPECT_NEAR(pieces[0].slope.exponent, -0.3, 1e-9);
  EXPECT_NEAR(pieces[1].slope.exponent, -0.05, 1e-9);
  EXPECT_NEAR(pieces[2].slope.exponent, -0.6, 1e-9);
  EXPECT_NEAR(pieces[1].slope_change, 0, 1e-9);
  EXPECT_EQ(pieces[1].behaviour, Behaviour::kStable);
  EXPECT_EQ(pieces[2].behaviour, Behaviour::kAnnealing);
  EXPECT_TRUE(std::isnan(pieces[0].slope_ratio)) << "nothing is before it";
}

// Losses on straight lines: 10 - 1e-6 t for 1000 steps, then four times as steep.
RunLog bent_line() {
  RunLog log = run_of({{"stable", "stable", 1000, 0, 0.01}, {"annealing", "decay", 100, 0, 0}});
  for (StepReport &step : log.steps) {
    const double tokens = static_cast<double>(step.tokens), after = std::max(tokens - 1000 * kBatch, 0.0);
    step.loss = 10 - 1e-6 * tokens - 3e-6 * after;
  }
  return log;
}

TEST(PhaseAccount, A36RatioIsThatOfTheSlopesPerToken) {
  const auto pieces = account_of(bent_line()).pieces;
  EXPECT_NEAR(pieces[0].slope.per_token, -1e-6, 1e-15);
  EXPECT_NEAR(pieces[1].slope.per_token, -4e-6, 1e-15);
  EXPECT_NEAR(pieces[1].slope_ratio, 4, 1e-8);
  // A hundred steps of 1e-3 each: their mean stands between the 50th and the 51st.
  EXPECT_NEAR(pieces[0].first_loss, 10 - 50.5e-3, 1e-9);
  EXPECT_NEAR(pieces[0].last_loss, 9 + 49.5e-3, 1e-9);
}

// The decay is compared with as many tokens before it: the first 900 steps are nine times as steep as the last 100.
TEST(PhaseAccount, A36ComparesWithTheEndOfALongPiece) {
  RunLog log = bent_line();
  for (StepReport &step : log.steps) step.loss += 8e-6 * std::max(900.0 * kBatch - static_cast<double>(step.tokens), 0.0);
  const auto pieces = account_of(log).pieces;
  EXPECT_LT(pieces[0].slope.per_token, -8e-6);
  EXPECT_NEAR(pieces[1].slope_before.per_token, -1e-6, 1e-15);
  EXPECT_NEAR(pieces[1].slope_ratio, 4, 1e-8);
  EXPECT_EQ(pieces[1].behaviour, Behaviour::kAnnealing);
}

TEST(PhaseAccount, ARatioNeedsALossThatFellBefore) {
  const auto pieces = account_of(run_of({{"one", "stable", 100, 0.2, 0.01}, {"two", "decay", 100, -0.2, 0}})).pieces;
  EXPECT_TRUE(std::isnan(pieces[1].slope_ratio));
  EXPECT_EQ(pieces[1].behaviour, Behaviour::kAnnealing);
}

TEST(PhaseAccount, SaysWhetherTheMixStayed) {
  EXPECT_TRUE(account_of(annealed()).pieces[2].same_mix);
  EXPECT_FALSE(account_of(annealed({{"web", 0.5}, {"books", 0.5}})).pieces[2].same_mix);
  RunLog moved = annealed();
  moved.mixes.push_back({.step = 950, .rows = {}});
  EXPECT_FALSE(account_of(moved).pieces[2].same_mix) << "a mixer moves it";
  EXPECT_TRUE(account_of(moved).pieces[1].same_mix) << "later";
}

TEST(PhaseAccount, AnnealsOnlyUnderALearningRateThatFalls) {
  const auto behaviour = [](double rate, double exponent) {
    return account_of(run_of({{"one", "stable", 800, -0.05, 0.01}, {"two", "decay", 200, exponent, rate}})).pieces[1].behaviour;
  };
  EXPECT_EQ(behaviour(0.001, -0.6), Behaviour::kAnnealing);
  EXPECT_NE(behaviour(0.01, -0.6), Behaviour::kAnnealing) << "the learning rate stayed";
  EXPECT_NE(behaviour(0.02, -0.6), Behaviour::kAnnealing) << "it rose";
  EXPECT_NE(behaviour(0.001, -0.02), Behaviour::kAnnealing) << "the loss fell more slowly";
}

TEST(PhaseAccount, AnnealingIsMoreThanChance) {
  RunLog log = bent_line();
  EXPECT_EQ(account_of(log).pieces[1].behaviour, Behaviour::kAnnealing);
  for (size_t i = 0; i < log.steps.size(); ++i) log.steps[i].loss += i % 2 == 0 ? 3 : -3;  // by a standard error above 10e-6 a token
  EXPECT_NEAR(account_of(log).pieces[1].slope.per_token, -4e-6, 2e-6);
  EXPECT_NE(account_of(log).pieces[1].behaviour, Behaviour::kAnnealing);
}

TEST(PhaseAccount, TheEndOfAWarmUpIsNoAnnealing) {
  RunLog log = run_of({{"one", "warmup", 100, -0.01, 0.01}, {"one", "decay", 900, -0.3, 0}}, 0);
  log.steps[0].loss = log.steps[1].loss;
  EXPECT_NE(account_of(log).pieces[1].behaviour, Behaviour::kAnnealing);
}

TEST(PhaseAccount, IsNotStableWhereTheSlopeChanges) {
  for (const auto &[second, behaviour] : {std::pair{-0.108, Behaviour::kStable}, std::pair{-0.112, Behaviour::kOther}}) {
    RunLog log = run_of({{"one", "stable", 500, -0.1, 0.01}, {"one", "stable", 500, second, 0.01}});
    const auto pieces = account_of(log).pieces;
    ASSERT_EQ(pieces.size(), 1u);
    EXPECT_NEAR(pieces[0].slope_change, (second + 0.1) / 0.1, 1e-9);
    EXPECT_EQ(pieces[0].behaviour, behaviour) << second;
  }
}

// A22, A23: the knees of the curve, found without the borders, lie on them.
TEST(PhaseAccount, A23FindsThePlantedKneesAtTheBorders) {
  const auto account = account_of(annealed());
  ASSERT_EQ(account.knees.size(), 2u);
  EXPECT_EQ(account.knees[0].border, 1u);
  EXPECT_EQ(account.knees[1].border, 2u);
  for (const Knee &knee : account.knees) {
    const double border = static_cast<double>(account.pieces[*knee.border].from_tokens);
    EXPECT_NEAR(knee.tokens / border, 1, 0.02);
    EXPECT_EQ(knee.distance, knee.tokens - border);
  }
  ASSERT_EQ(account.exponents.size(), 3u);
  EXPECT_NEAR(account.exponents[2], -0.6, 0.02);
}

TEST(PhaseAccount, AKneeWithinTheOnlyPieceHasNoBorder) {
  const auto account = account_of(run_of({{"one", "", 300, -0.3, 0.01}, {"one", "", 700, -0.05, 0.01}}));
  ASSERT_EQ(account.knees.size(), 1u);
  EXPECT_NEAR(account.knees[0].tokens / (300.0 * kBatch), 1, 0.02);
  EXPECT_FALSE(account.knees[0].border);
}

TEST(PhaseAccount, StepsWithoutAnUpdateDoNotCount) {
  RunLog log = annealed();
  const auto expected = account_of(log).pieces[1];
  log.steps[500].loss = 99;
  log.steps[500].skipped = true;
  log.steps[501].loss = PhaseAccount::kUnknown;
  log.steps[501].skipped = true;
  log.steps[899].loss = 99;
  log.steps[899].skipped = true;
  const auto piece = account_of(log).pieces[1];
  EXPECT_EQ(piece.steps_without_update, 3u);
  EXPECT_NEAR(piece.slope.exponent, expected.slope.exponent, 1e-9);
  EXPECT_NEAR(piece.last_loss, expected.last_loss, 1e-3);
}

TEST(PhaseAccount, AveragesTheTelemetryOfItsSteps) {
  RunLog log = annealed();
  for (const uint64_t step : {100, 101, 500, 900, 901}) {
    TelemetryReport report{.step = step, .phase = "stable", .noise_scale = 10.0 * static_cast<double>(step)};
    report.gradient_cosine = static_cast<double>(step);
    if (step != 500) report.d1 = -static_cast<double>(step);
    log.telemetry.push_back(report);
  }
  const TelemetryMeans means = account_of(log).pieces[1].telemetry;
  EXPECT_EQ(means.measurements, 3u) << "those of steps 101, 500 and 900";
  EXPECT_EQ(means.gradient_cosine, 1501.0 / 3);
  EXPECT_EQ(means.d1, -1001.0 / 2) << "unknown once";
  EXPECT_TRUE(std::isnan(means.curvature)) << "never known";
  EXPECT_EQ(means.noise_scale, 9000) << "the last";
}

TEST(PhaseAccount, TakesTheLastEvaluationOfAPiece) {
  RunLog log = annealed();
  for (const uint64_t step : {100, 700, 900, 1000}) log.evaluations.push_back({.step = step, .rows = {}});
  const auto pieces = account_of(log).pieces;
  EXPECT_EQ(pieces[0].held_out->step, 100u);
  EXPECT_EQ(pieces[1].held_out->step, 900u);
  log.evaluations.resize(1);
  EXPECT_FALSE(account_of(log).pieces[1].held_out);
}

TEST(PhaseAccount, OfARunThatHasHardlyBegun) {
  EXPECT_TRUE(account_of({}).pieces.empty());
  EXPECT_TRUE(account_of({}).exponents.empty());
  const auto account = account_of(run_of({{"one", "warmup", 1, -0.1, 0.01}}));
  ASSERT_EQ(account.pieces.size(), 1u);
  EXPECT_EQ(account.pieces[0].first_loss, 10);
  EXPECT_EQ(account.pieces[0].last_loss, 10);
  EXPECT_TRUE(std::isnan(account.pieces[0].slope.per_token));
  EXPECT_TRUE(account.knees.empty());
}

}  // namespace
}  // namespace trainhost
