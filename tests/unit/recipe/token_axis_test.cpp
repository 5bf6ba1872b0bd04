#include "recipe/token_axis.h"

#include <array>

#include <gtest/gtest.h>

#include "recipe/reader.h"

namespace trainhost {
namespace {

Amount amount(const std::string &text) { return parse_amount(text).value(); }

Phase phase(const std::string &name, const std::string &until = "") {
  Phase phase;
  phase.name = name;
  if (!until.empty()) phase.until = amount(until);
  return phase;
}

Recipe recipe(uint64_t tokens, uint64_t batch, std::vector<Phase> phases) {
  Recipe recipe;
  recipe.run.tokens = tokens;
  recipe.training.batch = Batch::constant(batch);
  recipe.packing.sequence_length = 10;
  recipe.phases = std::move(phases);
  return recipe;
}

TEST(TokenAxis, RoundsPhasesUpToWholeSteps) {
  const TokenAxis axis(recipe(1050, 100, {phase("stable", "90%"), phase("annealing")}));
  ASSERT_EQ(axis.phases().size(), 2u);
  EXPECT_EQ(axis.phases()[0].end_step, 10u);  // 945 tokens are reached by the tenth step
  EXPECT_EQ(axis.phases()[0].end_token, 1000u);
  EXPECT_EQ(axis.phases()[1].first_token, 1000u);
  EXPECT_EQ(axis.shape_of_step(10).sequences, 10u);
  EXPECT_EQ(axis.total_steps(), 11u);
  EXPECT_EQ(axis.total_tokens(), 1100u);
}

TEST(TokenAxis, CutsStepsSoThatAllRanksHaveAsManyMicroBatches) {
  Recipe shared = recipe(4800, 480, {phase("train")});  // 48 sequences of 10 tokens
  shared.training.micro_batch_tokens = 100;
  EXPECT_EQ(TokenAxis(shared, 1).shape_of_step(0).micro_batch_sequences, 10u);
  EXPECT_EQ(TokenAxis(shared, 2).shape_of_step(0).micro_batch_sequences, 8u);  // of 24
  EXPECT_EQ(TokenAxis(shared, 3).shape_of_step(0).micro_batch_sequences, 8u);  // of 16
  EXPECT_EQ(TokenAxis(shared, 4).shape_of_step(0).micro_batch_sequences, 6u);  // of 12
  EXPECT_EQ(TokenAxis(shared, 48).shape_of_step(0).micro_batch_sequences, 1u);
  shared.training.micro_batch_tokens = 0;
  EXPECT_EQ(TokenAxis(shared, 2).shape_of_step(0).micro_batch_sequences, 24u);
  shared.run.reduction = "fixed";
  for (const uint32_t ranks : {1u, 2u, 4u, 8u}) {
    EXPECT_EQ(TokenAxis(shared, ranks).shape_of_step(0).micro_batch_sequences, 6u);
    EXPECT_TRUE(check_shares(shared, ranks));
  }
}

TEST(TokenAxis, RefusesRanksThatCannotShareAStep) {
  Recipe shared = recipe(4800, 480, {phase("train")});
  EXPECT_TRUE(check_shares(shared, 3));
  EXPECT_EQ(check_shares(shared, 5).error().message,
            "phase \"train\": a step of 48 sequences of 10 tokens cannot be shared equally by 5 processes; the nearest batches that can: "
            "450 and 500 tokens");
  shared.run.reduction = "fixed";
  shared.training.micro_batch_tokens = 160;
  EXPECT_EQ(check_shares(shared, 2).error().message,
            "phase \"train\": with reduction = \"fixed\" a step is cut into 3 micro-batches of 160 tokens, which 2 processes cannot share "
            "equally; set training.micro_batch to 120 tokens");
  EXPECT_TRUE(check_shares(shared, 3));
}

TEST(TokenAxis, FollowsThePhasesBatchesAndLengths) {
  Phase large = phase("large", "7 steps");
  large.overrides.batch = Batch::constant(200);
  large.overrides.sequence_length = 50;
  const TokenAxis axis(recipe(1500, 100, {phase("small", "300 tokens"), large, phase("last")}));
  EXPECT_EQ(axis.phases()[1].first_step, 3u);
  EXPECT_EQ(axis.phases()[1].end_step, 7u);
  EXPECT_EQ(axis.shape_of_step(3).sequences, 4u);
  EXPECT_EQ(axis.phases()[1].sequence_length, 50u);
  EXPECT_EQ(axis.phases()[1].end_token, 1100u);
  EXPECT_EQ(axis.total_steps(), 11u);

  EXPECT_EQ(axis.phase_of_step(2), 0u);
  EXPECT_EQ(axis.phase_of_step(3), 1u);
  EXPECT_EQ(axis.phase_of_step(7), 2u);
  EXPECT_EQ(axis.phase_of_step(11), 2u);
  EXPECT_EQ(axis.tokens_at_step(0), 0u);
  EXPECT_EQ(axis.tokens_at_step(4), 500u);
  EXPECT_EQ(axis.tokens_at_step(11), 1500u);

  EXPECT_EQ(axis.tokens_of(amount("10%")), 150);
  EXPECT_EQ(axis.tokens_of(amount("2k tokens")), 2000);
  EXPECT_EQ(axis.tokens_of(amount("5 steps")), 700);
  EXPECT_EQ(axis.tokens_of(amount("12 steps")), 1600);  // the last phase goes on

  const th_progress progress = axis.progress(4);
  EXPECT_EQ(progress.struct_size, sizeof(th_progress));
  EXPECT_EQ(progress.phase, 1u);
  EXPECT_EQ(progress.step, 4u);
  EXPECT_EQ(progress.total_steps, 11u);
  EXPECT_EQ(progress.tokens, 500u);
  EXPECT_EQ(progress.total_tokens, 1500u);
  EXPECT_EQ(progress.phase_first_token, 300u);
  EXPECT_EQ(progress.phase_end_token, 1100u);
}

// First step, end step and tokens of a step of each span.
std::vector<std::array<uint64_t, 3>> spans(const TokenAxis &axis) {
  std::vector<std::array<uint64_t, 3>> spans;
  for (const BatchSpan &span : axis.batches()) spans.push_back({span.first_step, span.end_step, span.shape.tokens()});
  return spans;
}
using Spans = std::vector<std::array<uint64_t, 3>>;

// A22, A26: borders exact in steps and tokens.
TEST(TokenAxis, FollowsTheLevelsOfABatchAcrossPhases) {
  Recipe listed = recipe(1000, 0, {phase("one", "300 tokens"), phase("two")});
  listed.training.batch = {.rule = "levels", .tokens = 20, .most = 100};
  listed.training.batch.levels = {{20, amount("5 steps")}, {50, amount("50%")}, {100, std::nullopt}};
  const TokenAxis axis(listed);
  EXPECT_EQ(spans(axis), (Spans{{0, 5, 20}, {5, 9, 50}, {9, 13, 50}, {13, 18, 100}}));
  EXPECT_EQ(axis.phases()[0].end_token, 300u);
  EXPECT_EQ(axis.tokens_at_step(13), 500u);
  EXPECT_EQ(axis.total_tokens(), 1000u);
  EXPECT_EQ(axis.samples_between(4, 10), 2u + 4 * 5 + 5);
  EXPECT_EQ(axis.phases()[0].samples, 30u);
  EXPECT_EQ(axis.step_reaching(99), 5u);
  EXPECT_EQ(axis.step_reaching(100), 5u);
  EXPECT_EQ(axis.step_reaching(101), 6u);
  EXPECT_EQ(axis.step_reaching(1e9), 18u);
}

TEST(TokenAxis, RampsABatchInEqualLengths) {
  Recipe ramp = recipe(1200, 0, {phase("train")});
  ramp.training.batch = {.rule = "ramp", .tokens = 20, .most = 80, .by = 20, .until = amount("50%")};
  EXPECT_EQ(spans(TokenAxis(ramp)), (Spans{{0, 10, 20}, {10, 15, 40}, {15, 19, 60}, {19, 26, 80}}));  // 200 tokens each, moved up to steps
  ramp.training.batch.until = amount("9 steps");
  EXPECT_EQ(spans(TokenAxis(ramp)), (Spans{{0, 3, 20}, {3, 6, 40}, {6, 9, 60}, {9, 20, 80}}));
  // Of a phase: counted from where it begins.
  Phase own = phase("own");
  own.overrides.batch = Batch{.rule = "ramp", .tokens = 20, .most = 40, .by = 20, .until = amount("800 tokens")};
  EXPECT_EQ(spans(TokenAxis(recipe(1200, 100, {phase("first", "400 tokens"), own}))), (Spans{{0, 4, 100}, {4, 24, 20}, {24, 34, 40}}));
}

TEST(TokenAxis, GrowsWhereItIsTold) {
  Phase fixed = phase("fixed", "600 tokens");
  fixed.overrides.batch = Batch::constant(50);
  Recipe grows = recipe(1000, 0, {phase("one", "400 tokens"), fixed, phase("two")});
  grows.training.batch = {.rule = "stall", .tokens = 20, .most = 80, .every = amount("10%")};
  TokenAxis axis(grows);
  EXPECT_EQ(spans(axis), (Spans{{0, 20, 20}, {20, 24, 50}, {24, 44, 20}}));
  EXPECT_EQ(axis.possible_shapes().size(), 3u + 1 + 3);
  EXPECT_EQ(axis.phases()[0].samples, 48u);  // 400 tokens and the largest step
  axis.grow({{200, 40}});
  EXPECT_EQ(spans(axis), (Spans{{0, 10, 20}, {10, 15, 40}, {15, 19, 50}, {19, 29, 40}}));
  EXPECT_EQ(axis.tokens_at_step(10), 200u);
  axis.grow({{200, 40}, {760, 80}});
  EXPECT_EQ(spans(axis), (Spans{{0, 10, 20}, {10, 15, 40}, {15, 19, 50}, {19, 23, 40}, {23, 26, 80}}));
  EXPECT_EQ(axis.phases()[0].samples, 48u);
  axis.grow({});
  EXPECT_EQ(axis.total_steps(), 44u);
}

std::vector<uint64_t> due_steps(const TokenAxis &axis, const std::string &every) {
  std::vector<uint64_t> steps;
  for (uint64_t step = 0; step < axis.total_steps(); ++step)
    if (axis.due_at(amount(every), step + 1)) steps.push_back(step + 1);
  return steps;
}

TEST(TokenAxis, IsDueAtTheMultiplesMovedUpToStepEnds) {
  const TokenAxis axis(recipe(1000, 70, {phase("train")}));  // 15 steps, 1050 tokens
  EXPECT_EQ(due_steps(axis, "5 steps"), (std::vector<uint64_t>{5, 10, 15}));
  EXPECT_EQ(due_steps(axis, "350 tokens"), (std::vector<uint64_t>{5, 10, 15}));
  EXPECT_EQ(due_steps(axis, "25%"), (std::vector<uint64_t>{4, 8, 11, 15}));
  EXPECT_EQ(due_steps(axis, "100%"), (std::vector<uint64_t>{15}));
  EXPECT_EQ(due_steps(axis, "2k tokens"), (std::vector<uint64_t>{}));
  EXPECT_EQ(due_steps(axis, "1 token").size(), 15u);  // once a step, however many multiples lie in it
}

TEST(TokenAxis, LosesNoMultipleToRounding) {
  for (const uint64_t tokens : {1'500'000u, 700'000u, 330'000u, 999'000u})
    for (const char *share : {"1%", "5%", "7%", "10%", "0.1%"}) {
      const TokenAxis axis(recipe(tokens, 10, {phase("train")}));
      const double count = 1 / amount(share).value;
      EXPECT_EQ(due_steps(axis, share).size(), static_cast<size_t>(count + 1e-6)) << tokens << " " << share;
    }
}

}  // namespace
}  // namespace trainhost
