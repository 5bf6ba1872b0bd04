// What "auto" makes of budgets.
#include "plan/memory_choice.h"

#include <gtest/gtest.h>

#include "planned_recipe.h"

namespace trainhost {
namespace {

using test::SmallRun;

// As with a fresh recipe: both are "auto".
struct AutomaticRun : SmallRun {
  AutomaticRun() {
    recipe.training.micro_batch_tokens = 0;
    recipe.training.recompute.reset();
    recipe.training.batch = Batch::constant(4 * 4096);
  }
  uint64_t needs(const MemorySettings &settings) const { return plan(1, settings).fullest().peak.total(); }
  Result<MemoryChoice> choose(uint64_t bytes, const std::optional<MemorySettings> &recorded = {}) const {
    return choose_memory(planned(), {.bytes = bytes, .given = true}, recorded);
  }
  MemorySettings chosen(uint64_t bytes, const std::optional<MemorySettings> &recorded = {}) const {
    const auto choice = choose(bytes, recorded);
    EXPECT_TRUE(choice) << (choice ? "" : choice.error().message);
    if (!choice) return {0, 0};
    EXPECT_LE(choice->plan->fullest().peak.total(), bytes);
    return choice->settings;
  }
};

TEST(MemoryChoiceTest, TakesTheFastestWhereThereIsMemory) {
  const AutomaticRun run;
  EXPECT_EQ(run.chosen(run.needs({4096, 0})), (MemorySettings{4096, 0}));
}

TEST(MemoryChoiceTest, TakesTheMostSequencesThatFit) {
  const AutomaticRun run;
  EXPECT_EQ(run.chosen(run.needs({4096, 0}) - 1).recompute, 0u);
  EXPECT_LT(run.chosen(run.needs({4096, 0}) - 1).micro_batch_tokens, 4096u);
  const uint64_t budget = run.needs({1600, 0});
  const MemorySettings chosen = run.chosen(budget);
  EXPECT_GE(chosen.micro_batch_tokens, 1600u);
  EXPECT_GT(run.needs({chosen.micro_batch_tokens + 64, 0}), budget);
}

TEST(MemoryChoiceTest, RecomputesAsFewUnitsAsFit) {
  AutomaticRun run;
  run.recipe.training.micro_batch_tokens = 4096;
  for (const uint32_t every : {1u, 2u, 3u, 5u}) {
    const uint64_t budget = run.needs({4096, every});
    const uint32_t chosen = run.chosen(budget).recompute;
    EXPECT_GE(chosen, every);
    for (uint32_t fewer = chosen + 1; fewer < 8; ++fewer) EXPECT_GT(run.needs({4096, fewer}), budget);
  }
  EXPECT_EQ(run.chosen(run.needs({4096, 0})).recompute, 0u);
}

TEST(MemoryChoiceTest, ShrinksMicroBatchesBelow1024TokensOnlyWithAllUnitsRecomputed) {
  const AutomaticRun run;
  const MemorySettings chosen = run.chosen(run.needs({128, 1}));
  EXPECT_EQ(chosen.recompute, 1u);
  EXPECT_LT(chosen.micro_batch_tokens, 1024u);
  EXPECT_GE(chosen.micro_batch_tokens, 128u);
}

TEST(MemoryChoiceTest, KeepsWhatTheRunHasHadWhileItFits) {
  const AutomaticRun run;
  const MemorySettings recorded{1024, 3};
  EXPECT_EQ(run.chosen(run.needs({4096, 0}), recorded), recorded);
  EXPECT_NE(run.chosen(run.needs(recorded) - 1, recorded), recorded);
}

TEST(MemoryChoiceTest, LeavesTheMicroBatchesOfTheFixedReductionAlone) {
  AutomaticRun run;
  run.recipe.run.reduction = "fixed";
  EXPECT_EQ(run.needs({4096, 0}), run.needs({64, 0}));
  EXPECT_FALSE(run.choose(run.needs({4096, 1}) - 1));
}

TEST(MemoryChoiceTest, SaysByHowMuchABudgetIsTooSmall) {
  AutomaticRun run;
  run.recipe.given["training.memory"] = {"/recipe.toml", 7, 10};
  const uint64_t least = run.needs({64, 1});
  const auto choice = run.choose(least - 1'000'000);
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().kind, ErrorKind::kRecipe);
  EXPECT_NE(choice.error().message.find("/recipe.toml:7:10: `training.memory`"), std::string::npos) << choice.error().message;
  EXPECT_NE(choice.error().message.find("1.0 MB too little"), std::string::npos) << choice.error().message;
  EXPECT_NE(choice.error().message.find("the largest part is program and libraries"), std::string::npos) << choice.error().message;
}

TEST(MemoryChoiceTest, RecordsReadBack) {
  const MemorySettings settings{1536, 4};
  EXPECT_EQ(memory_settings_from_json(to_json(settings)), settings);
  for (const char *text : {"", "[]", "{}", R"({"micro_batch_tokens": 0, "recompute": 1})", R"({"micro_batch_tokens": -5, "recompute": 1})"})
    EXPECT_FALSE(memory_settings_from_json(text)) << text;
}

}  // namespace
}  // namespace trainhost
