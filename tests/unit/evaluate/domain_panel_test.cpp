#include "evaluate/domain_panel.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

class PanelReports : public MetricSink {
 public:
  void step(const StepReport &) override {}
  void evaluation(const EvaluationReport &) override {}
  void panel(const PanelReport &report) override { all.push_back(report); }
  std::vector<PanelReport> all;
};

// Phases of 10, 20 and 10 steps of 32 tokens; sources x, y and z, the last of them out of the domain.
class DomainPanelTest : public testing::Test {
 protected:
  static Recipe recipe_of_three_phases() {
    Recipe recipe;
    recipe.run.tokens = 32 * 40;
    recipe.packing.sequence_length = 8;
    recipe.training.batch = Batch::constant(32);
    for (const auto &[name, end] : {std::pair{"one", 10.0}, {"two", 30.0}, {"three", 0.0}}) {
      Phase &phase = recipe.phases.emplace_back();
      phase.name = name;
      if (end > 0) phase.until = Amount{end, Amount::Unit::kSteps, "", {}};
    }
    for (const char *name : {"x", "y", "z"}) recipe.sources.emplace_back().name = name;
    recipe.sources[2].domain = "out";
    return recipe;
  }

  DomainPanelTest() { reporter.show_on(&reports); }

  // Two windows of 10 and 30 tokens of 2 bytes each, with losses of so many nats a token.
  void measure(uint64_t step, const std::vector<std::array<double, 2>> &per_token) {
    std::vector<HeldOutLosses> losses;
    for (size_t i = 0; i < per_token.size(); ++i) {
      losses.push_back({recipe.sources[i].name, {10 * per_token[i][0], 30 * per_token[i][1]}, {10, 30}, 80});
    }
    state.step = step;
    ASSERT_TRUE(panel.measured(state, losses));
  }

  const Recipe recipe = recipe_of_three_phases();
  const TokenAxis axis{recipe};
  Reporter reporter;
  PanelReports reports;
  DomainPanel panel{{recipe, axis, reporter}};
  TrainState state;
};

TEST_F(DomainPanelTest, ComparesTheEndOfAPhaseWithItsBeginning) {  // A16
  measure(5, {{9, 9}, {9, 9}, {9, 9}});
  measure(10, {{4, 4}, {3, 3}, {5, 5}});
  EXPECT_TRUE(reports.all.empty()) << "before the first phase nothing was measured";
  measure(20, {{9, 9}, {9, 9}, {9, 9}});
  measure(30, {{3, 3.4}, {3.1, 3.1}, {4.9, 5.4}});
  ASSERT_EQ(reports.all.size(), 1u);
  const PanelReport &found = reports.all[0];
  EXPECT_EQ(found.phase, "two");
  EXPECT_EQ(found.step, 30u);
  EXPECT_EQ(found.tokens, 960u);
  EXPECT_EQ(found.since_tokens, 320u);
  ASSERT_EQ(found.rows.size(), 3u);
  EXPECT_NEAR(found.rows[0].loss, (10 * 3 + 30 * 3.4) / 80, 1e-12);
  EXPECT_NEAR(found.rows[0].before, 4 * 40 / 80.0, 1e-12);
  EXPECT_NEAR(found.rows[0].difference, (10 * -1 + 30 * -0.6) / 80, 1e-12);
  // Per token: mean -0.7, rests -10 + 7 and -18 + 21, sigma sqrt(2 * (9 + 9)) / 40.
  EXPECT_NEAR(found.rows[0].sigma, std::sqrt(36) / 40 / 2, 1e-12);
  EXPECT_FALSE(found.rows[0].worse);
  EXPECT_TRUE(found.rows[1].worse) << "all of it moved alike, so there is no doubt";
  EXPECT_FALSE(found.rows[2].worse) << "0.275 with a sigma of 0.1875";
}

TEST_F(DomainPanelTest, FlagsWhatGotWorseByMoreThanTwoSigma) {  // A16
  measure(10, {{4, 4}, {4, 4}, {4, 4}});
  // Differences d and d' per token have the mean (10 d + 30 d') / 40 and the sigma 15 |d - d'| / 40, twice of which is less or more.
  measure(30, {{4.1, 4.12}, {3.99, 4.05}, {4.1, 3.9}});
  const PanelReport &found = reports.all.at(0);
  EXPECT_TRUE(found.rows[0].worse) << "0.115, and twice 0.0075";
  EXPECT_FALSE(found.rows[1].worse) << "0.035, and twice 0.0225";
  EXPECT_FALSE(found.rows[2].worse) << "better";
}

TEST_F(DomainPanelTest, AveragesInTheDomainAndOutOfIt) {  // A17
  measure(10, {{4, 4}, {2, 2}, {6, 6}});
  measure(30, {{2, 2}, {1, 1}, {8, 8}});
  const PanelReport &found = reports.all.at(0);
  EXPECT_TRUE(found.rows[2].out_of_domain);
  EXPECT_EQ(found.in_domain.sources, 2u);
  EXPECT_NEAR(found.in_domain.before, 1.5, 1e-12);
  EXPECT_NEAR(found.in_domain.loss, 0.75, 1e-12);
  EXPECT_EQ(found.out_of_domain.sources, 1u);
  EXPECT_NEAR(found.out_of_domain.loss, 4, 1e-12);
}

TEST_F(DomainPanelTest, GoesOnAfterAResume) {
  measure(10, {{4, 4}, {2, 2}, {6, 6}});
  state = TrainState::from_json(state.to_json(), 10).value();
  measure(30, {{2, 2}, {1, 1}, {8, 8}});
  EXPECT_EQ(reports.all.at(0).rows.size(), 3u);
  EXPECT_EQ(reports.all.at(0).since_tokens, 320u);
}

TEST_F(DomainPanelTest, LeavesOutWhatWasNotMeasuredBefore) {
  measure(10, {{4, 4}});
  measure(30, {{2, 2}, {1, 1}});
  ASSERT_EQ(reports.all.at(0).rows.size(), 1u);
  EXPECT_EQ(reports.all.at(0).rows[0].source, "x");
  measure(40, {{2, 2}, {1, 1}});
  EXPECT_EQ(reports.all.at(1).rows.size(), 2u);
}

}  // namespace
}  // namespace trainhost
