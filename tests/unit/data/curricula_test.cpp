// The curricula of recipes/ (A12 to A14): what a run of each would read.
#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "recipe/reader.h"
#include "stream_under_test.h"

namespace trainhost {
namespace {

const std::set<std::string> kHigh{"novels", "poems", "questions"};

// A recipe's phases and mixer over small stores with its sources, in steps of 64 sequences of 8 tokens.
class CurriculumRun {
 public:
  explicit CurriculumRun(const std::string &name)
      : recipe_(read_recipe(TRAINHOST_SOURCE_DIR "/recipes/" + name + ".toml", {}).value()),
        test_(windows(recipe_), mixer(recipe_), recipe_.sources) {
    test_.recipe().training.batch = Batch::constant(512);
    test_.recipe().run.tokens = 512 * 1000;
    test_.recipe().phases = recipe_.phases;
    stream_ = test_.stream();
  }

  // Samples of each source in the steps [first, end).
  std::map<std::string, double> read(uint64_t first, uint64_t end) const {
    std::map<std::string, double> read;
    for (uint64_t step = first; step < end; ++step) {
      const StepBatch batch = stream_->step(step).value();
      for (const TokenBatch &micro_batch : batch.micro_batches)
        for (const SampleId &id : micro_batch.samples) read[recipe_.sources[id.source].name] += 1;
    }
    return read;
  }
  double high_share(uint64_t first, uint64_t end) const {
    double high = 0, all = 0;
    for (const auto &[name, samples] : read(first, end)) {
      all += samples;
      if (kHigh.contains(name)) high += samples;
    }
    return high / all;
  }

  const Recipe &recipe() const { return recipe_; }
  const PhaseSpan &span(const std::string &phase) const {
    size_t i = 0;
    while (recipe_.phases.at(i).name != phase) ++i;
    return test_.axis().phases()[i];
  }
  uint64_t steps() const { return test_.axis().total_steps(); }

 private:
  static std::vector<std::pair<std::string, uint32_t>> windows(const Recipe &recipe) {
    std::vector<std::pair<std::string, uint32_t>> windows;
    for (const Source &source : recipe.sources) windows.emplace_back(source.name, 200);
    return windows;
  }
  static std::unique_ptr<PluginInstance> mixer(const Recipe &recipe) {
    std::map<std::string, ParameterValue> parameters;
    for (const auto &[name, parameter] : recipe.mixer.parameters) parameters[name] = parameter.value;
    return plugin_under_test(PluginKind::kDatasetMixer, recipe.mixer.plugin, parameters);
  }

  Recipe recipe_;
  StreamUnderTest test_;
  std::unique_ptr<SampleStream> stream_;
};

// Each phase has each source's share to within the error of a sample of its size (A02's bound), and nothing else.
void expect_shares(const CurriculumRun &run) {
  for (const Phase &phase : run.recipe().phases) {
    const PhaseSpan &span = run.span(phase.name);
    const auto samples = static_cast<double>(span.samples);
    const auto read = run.read(span.first_step, span.end_step);
    for (const auto &[source, share] : *phase.overrides.mix) {
      const double found = read.contains(source) ? read.at(source) / samples : 0;
      EXPECT_NEAR(found, share, 3 * std::sqrt(share * (1 - share) / samples)) << source << " in " << phase.name;
    }
    for (const auto &[source, count] : read) EXPECT_GT(phase.overrides.mix->at(source), 0) << source << " in " << phase.name;
  }
}

TEST(Curricula, LateQualityComesWithTheFirstStepOfAnnealing) {  // A12
  const CurriculumRun run("late_quality");
  expect_shares(run);
  const uint64_t border = run.span("annealing").first_step;
  EXPECT_EQ(border, run.steps() / 5 * 4);
  EXPECT_EQ(run.high_share(0, border), 0);
  EXPECT_NEAR(run.high_share(border, border + 1), 0.3, 0.05) << "from the phase's first step on";
}

TEST(Curricula, EarlyQualityIsThinnedOutAndGone) {  // A13
  const CurriculumRun run("early_quality");
  expect_shares(run);
  EXPECT_NEAR(run.high_share(0, run.span("quality").end_step), 0.3, 0.001);
  const uint64_t border = run.span("ordinary").first_step;
  EXPECT_EQ(border, run.steps() / 4);
  EXPECT_GT(run.high_share(border - 1, border), 0);
  EXPECT_EQ(run.high_share(border, run.steps()), 0);
}

TEST(Curricula, AllQualityHasNothingElse) {  // A14
  const CurriculumRun run("all_quality");
  expect_shares(run);
  EXPECT_EQ(run.high_share(0, run.steps()), 1);
}

TEST(Curricula, SortedQualityRisesAndKeepsTheShares) {
  const CurriculumRun run("sorted_quality");
  expect_shares(run);
  const uint64_t steps = run.steps(), border = steps * 94 / 100, half = steps * 25 / 1000;
  EXPECT_EQ(run.high_share(0, border - half), 0);
  EXPECT_NEAR(run.high_share(border - 1, border + 1), 0.5, 0.03);
  EXPECT_EQ(run.high_share(border + half, steps), 1);
}

// The comparison of the three is one of order alone.
TEST(Curricula, ReadAsMuchOfEachSourceInWhateverOrder) {
  const CurriculumRun late("late_quality"), early("early_quality"), sorted("sorted_quality");
  const auto expected = late.read(0, late.steps());
  for (const CurriculumRun *run : {&early, &sorted}) {
    const auto found = run->read(0, run->steps());
    ASSERT_EQ(found.size(), expected.size());
    for (const auto &[source, samples] : expected) EXPECT_NEAR(found.at(source), samples, 10) << source;
  }
}

}  // namespace
}  // namespace trainhost
