// A26: the critical batch that branches with k times the batch tell, on planted losses.
#include "app/batch_recovery.h"

#include <cmath>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace trainhost {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kTolerance = 0.01;

RecoveredBatches found(std::vector<TriedBatch> tried) { return recovered_batches(tried, kTolerance); }

TEST(RecoveredBatches, AreBoundedByTheLargestThatRecoversAndTheSmallestThatDoesNot) {
  EXPECT_EQ(found({{1024, -0.01}, {2048, 0.005}, {4096, 0.01}}), (RecoveredBatches{.at_least = 4096, .below = {}}));
  EXPECT_EQ(found({{1024, 0.0}, {2048, 0.009}, {4096, 0.011}, {8192, 0.3}}), (RecoveredBatches{.at_least = 2048, .below = 4096}));
  EXPECT_EQ(found({{1024, 0.02}, {2048, 0.04}}), (RecoveredBatches{.at_least = {}, .below = 1024}));
  EXPECT_EQ(found({}), RecoveredBatches{});
}

// A planted critical batch: the loss lies above the run's by more than the tolerance once the batch is larger, in whatever order it is
// tried.
TEST(RecoveredBatches, BracketAPlantedCriticalBatch) {
  for (const double critical : {700.0, 1500.0, 6000.0, 40'000.0}) {
    std::vector<TriedBatch> tried;
    for (const uint64_t tokens : {8192u, 1024u, 16384u, 4096u, 2048u})
      tried.push_back({tokens, kTolerance * std::pow(static_cast<double>(tokens) / critical, 2)});
    const RecoveredBatches batches = found(tried);
    EXPECT_EQ(batches.at_least.has_value(), critical >= 1024);
    EXPECT_EQ(batches.below.has_value(), critical < 16384);
    if (batches.at_least) EXPECT_LE(static_cast<double>(*batches.at_least), critical);
    if (batches.below) EXPECT_GT(static_cast<double>(*batches.below), critical);
    if (batches.at_least && batches.below) EXPECT_EQ(*batches.below, 2 * *batches.at_least);
    EXPECT_FALSE(batches.beyond);
  }
}

// What a larger batch says counts only as long as all smaller ones recover.
TEST(RecoveredBatches, StopAtTheFirstThatDoesNotRecover) {
  EXPECT_EQ(found({{1024, 0.0}, {2048, 0.02}, {4096, 0.0}}), (RecoveredBatches{.at_least = 1024, .below = 2048, .beyond = true}));
  EXPECT_EQ(found({{2048, 0.02}, {4096, 0.0}}), (RecoveredBatches{.at_least = {}, .below = 2048, .beyond = true}));
}

TEST(RecoveredBatches, DoNotRecoverWithoutAFiniteLoss) {
  EXPECT_EQ(found({{1024, 0.0}, {2048, kNaN}}), (RecoveredBatches{.at_least = 1024, .below = 2048}));
  EXPECT_EQ(found({{1024, std::numeric_limits<double>::infinity()}}), (RecoveredBatches{.at_least = {}, .below = 1024}));
}

// One batch with two learning rates: the better one counts.
TEST(RecoveredBatches, RecoverWithTheBestOfSeveralTries) {
  EXPECT_EQ(found({{1024, 0.02}, {1024, 0.001}, {1024, 0.03}, {2048, 0.02}, {2048, kNaN}}), (RecoveredBatches{.at_least = 1024, .below = 2048}));
}

Branch branch(const std::string &name, const std::string &from, std::optional<Batch> batch) {
  Branch made{.name = name, .from = from, .until = {}, .seed = {}, .overrides = {}, .position = {}};
  made.overrides.batch = std::move(batch);
  return made;
}

// Phases "early", "middle" and "late" with batches of 512; 100 steps.
Recipe recipe_with(std::vector<Branch> branches) {
  Recipe recipe;
  recipe.run.tokens = 51200;
  recipe.training.batch = Batch::constant(512);
  for (const char *name : {"early", "middle", "late"})
    recipe.phases.push_back({.name = name, .until = {}, .overrides = {}, .position = {}});
  recipe.phases[0].until = Amount{0.3, Amount::Unit::kShare, "30%", {}};
  recipe.phases[1].until = Amount{0.6, Amount::Unit::kShare, "60%", {}};
  recipe.branches = std::move(branches);
  return recipe;
}

std::vector<std::string> names_of(const auto &items) {
  std::vector<std::string> names;
  for (const auto &item : items) names.push_back(item.name);
  return names;
}

TEST(BatchBranches, AreThoseWithAnotherBatchByThePlaceWhereTheyBegin) {
  Branch linear = branch("linear", "end of middle", {});
  linear.overrides.schedule["shape"] = {std::string("linear"), true, {}};
  const auto places = batch_branches(
      recipe_with({branch("four", "end of middle", Batch::constant(2048)), linear, branch("same", "end of early", Batch::constant(512)),
                   branch("half", "end of middle", Batch::constant(256)), branch("early two", "end of early", Batch::constant(1024)),
                   branch("two", "end of middle", Batch::constant(1024))}));
  ASSERT_EQ(places.size(), 2u);
  EXPECT_EQ(places[0].from, "end of middle");
  EXPECT_EQ(places[0].tokens, 512u);
  EXPECT_EQ(names_of(places[0].branches), (std::vector<std::string>{"half", "two", "four"}));
  EXPECT_EQ(places[0].branches[2].tokens, 2048u);
  EXPECT_TRUE(places[0].left_out.empty());
  EXPECT_EQ(places[1].from, "end of early");
  EXPECT_EQ(names_of(places[1].branches), (std::vector<std::string>{"early two"}));
  EXPECT_TRUE(batch_branches(recipe_with({linear})).empty());
}

TEST(BatchBranches, LeaveOutWhatIsNotOneOtherBatch) {
  Branch mixed = branch("mixed", "end of middle", Batch::constant(1024));
  mixed.overrides.mix = std::map<std::string, double>{{"english", 1}};
  const auto places = batch_branches(recipe_with({branch("ramp", "end of middle", Batch{.rule = "stall", .tokens = 512, .most = 2048}),
                                                  mixed, branch("two", "end of middle", Batch::constant(1024))}));
  ASSERT_EQ(places.size(), 1u);
  EXPECT_EQ(names_of(places[0].branches), (std::vector<std::string>{"two"}));
  ASSERT_EQ(names_of(places[0].left_out), (std::vector<std::string>{"ramp", "mixed"}));
  EXPECT_EQ(places[0].left_out[0].why, "has batches of 512 to 2048 tokens");
  EXPECT_EQ(places[0].left_out[1].why, "changes the text, too");
}

TEST(BatchBranches, NeedARunWhoseBatchStays) {
  Recipe growing =
      recipe_with({branch("two", "end of early", Batch::constant(1024)), branch("late two", "end of middle", Batch::constant(1024))});
  growing.phases[2].overrides.batch = Batch::constant(4096);
  const auto places = batch_branches(growing);
  ASSERT_EQ(places.size(), 2u);
  EXPECT_TRUE(places[0].branches.empty());
  ASSERT_EQ(places[0].left_out.size(), 1u);
  EXPECT_EQ(places[0].left_out[0].why, "the run beside it has batches of 512 to 4096 tokens");
  EXPECT_EQ(names_of(places[1].branches), (std::vector<std::string>{"late two"}));
  EXPECT_EQ(places[1].tokens, 4096u);
}

using Losses = std::map<std::string, std::map<std::string, std::vector<double>>>;

const BatchBranches kBranches{
    .from = "end of middle", .tokens = 512, .branches = {{"two", 1024}, {"four", 2048}}, .left_out = {{"ramp", "grows"}}};

TEST(BatchRecovery, ComparesTheMeansOverTheSeeds) {
  const Losses losses{{"english", {{"base", {2.00, 2.10}}, {"base/two", {2.10, 2.018}}, {"base/four", {2.07, 2.06}}}},
                      {"code", {{"base", {1.5, 1.5}}, {"base/two", {1.49, 1.5}}, {"base/four", {1.505, 1.5}}}},
                      {"poems", {{"base", {3.0, kNaN}}, {"base/two", {3.0, 3.0}}, {"base/four", {3.0, 3.0}}}}};
  const BatchRecovery recovery = recovery_of("base", kBranches, losses, kTolerance);
  ASSERT_EQ(recovery.sources.size(), 3u);
  EXPECT_EQ(recovery.sources[0].batches, (RecoveredBatches{.at_least = 2048, .below = {}}));  // code
  const auto &english = recovery.sources[1];
  EXPECT_EQ(english.source, "english");
  EXPECT_NEAR(english.rows[0].tried.excess, 0.009, 1e-12);
  EXPECT_TRUE(english.rows[0].recovers);
  EXPECT_NEAR(english.rows[1].tried.excess, 0.015, 1e-12);
  EXPECT_FALSE(english.rows[1].recovers);
  EXPECT_EQ(english.batches, (RecoveredBatches{.at_least = 1024, .below = 2048}));
  EXPECT_FALSE(recovery.sources[2].finite);
  EXPECT_FALSE(recovery.sources[2].rows[0].recovers);
  EXPECT_EQ(recovery.sources[2].batches, RecoveredBatches{});

  std::ostringstream out;
  print(recovery, out);
  EXPECT_THAT(out.str(),
              testing::HasSubstr("other batches from \"end of middle\" of base on\nthe run's has 512 tokens; a batch recovers that ends "
                                 "at most 0.01 nats per byte above it\n"));
  EXPECT_THAT(out.str(), testing::HasSubstr("base/four        2048    +0.01500  does not\n"
                                            "the critical batch there is between 1024 and 2048 tokens\n"));
  EXPECT_THAT(out.str(), testing::HasSubstr("the critical batch there is at least 2048 tokens\n"));
  EXPECT_THAT(out.str(), testing::HasSubstr("the run's own loss is not finite"));
  EXPECT_THAT(out.str(), testing::HasSubstr("base/ramp is left out: it grows\n"));

  const auto json = to_json(recovery);
  EXPECT_EQ(json["batch"], 512);
  EXPECT_EQ(json["sources"]["english"]["at_least"], 1024);
  EXPECT_EQ(json["sources"]["english"]["below"], 2048);
  EXPECT_TRUE(json["sources"]["code"]["below"].is_null());
  EXPECT_TRUE(json["sources"]["poems"]["at_least"].is_null());
  EXPECT_TRUE(json["sources"]["poems"]["rows"][0]["excess"].is_null());
  EXPECT_EQ(json["left_out"][0]["name"], "base/ramp");
}

TEST(BatchRecovery, SaysWhatLiesBelowAndWhatIsNotSure) {
  const Losses losses{{"english", {{"base", {2.0}}, {"base/two", {2.1}}, {"base/four", {2.0}}}}};
  std::ostringstream out;
  print(recovery_of("base", kBranches, losses, kTolerance), out);
  EXPECT_THAT(out.str(),
              testing::HasSubstr("the critical batch there is below 1024 tokens; a larger one recovers all the same, so more seeds"));
}

}  // namespace
}  // namespace trainhost
