#include "metrics/run_log.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "unit/metrics/scratch_folder.h"

namespace trainhost {
namespace {

// What the sink makes of the reports.
template <class Tell>
std::string written(const Tell &tell) {
  const ScratchFolder folder;
  const auto sink = open_jsonl_sink(folder.file("metrics.jsonl"), 0);
  tell(**sink);
  EXPECT_TRUE((*sink)->flush());
  std::ostringstream text;
  text << std::ifstream(folder.file("metrics.jsonl"), std::ios::binary).rdbuf();
  return text.str();
}

TEST(RunLog, ReadsWhatTheSinkWrites) {
  const RunLog log = read_run_log(written([](MetricSink &sink) {
    sink.begin({.recipe = "a.toml", .directory = "runs/a", .model = "minicpm", .parameters = 10, .total_steps = 7, .total_tokens = 70});
    sink.phase({.step = 0, .phase = "one", .batch_tokens = 10, .sequence_length = 5, .mix = {{"web", 0.25}}, .overrides = {}});
    sink.mix({.step = 0, .round = 3, .rows = {{.source = "web", .weight = 0.5, .loss_per_token = 2, .tokens = 9}}});
    sink.step({.step = 1, .tokens = 10, .phase = "one", .stage = "warmup", .batch_tokens = 10, .loss = 1.0 / 3, .learning_rate = 0.1});
    sink.step({.step = 2, .tokens = 20, .phase = "one", .stage = "stable", .loss = NAN, .skipped = true});
    sink.telemetry({.step = 2, .tokens = 20, .phase = "one", .noise_scale = 4, .d1 = -0.5});
    sink.evaluation({.step = 2, .tokens = 20, .rows = {{.source = "web", .loss_per_token = 2, .loss_per_byte = 0.5, .tokens = 8}}});
  }));
  ASSERT_TRUE(log.begin);
  EXPECT_EQ(log.begin->total_steps, 7u);
  EXPECT_EQ(log.begin->total_tokens, 70u);
  ASSERT_EQ(log.phases.size(), 1u);
  EXPECT_EQ(log.phases[0].phase, "one");
  EXPECT_EQ(log.phases[0].mix, (std::map<std::string, double>{{"web", 0.25}}));
  ASSERT_EQ(log.mixes.size(), 1u);
  EXPECT_EQ(log.mixes[0].rows.at(0).weight, 0.5);
  ASSERT_EQ(log.steps.size(), 2u);
  EXPECT_EQ(log.steps[0].stage, "warmup");
  EXPECT_EQ(log.steps[0].batch_tokens, 10u);
  EXPECT_EQ(log.steps[0].loss, 1.0 / 3);
  EXPECT_FALSE(log.steps[0].skipped);
  EXPECT_TRUE(std::isnan(log.steps[1].loss));
  EXPECT_TRUE(log.steps[1].skipped);
  ASSERT_EQ(log.telemetry.size(), 1u);
  EXPECT_EQ(log.telemetry[0].d1, -0.5);
  EXPECT_TRUE(std::isnan(log.telemetry[0].d2)) << "unknown";
  ASSERT_EQ(log.evaluations.size(), 1u);
  EXPECT_EQ(log.evaluations[0].rows.at(0).source, "web");
  EXPECT_EQ(log.evaluations[0].rows.at(0).loss_per_byte, 0.5);
}

TEST(RunLog, PassesOverWhatIsNotOurs) {
  const RunLog log = read_run_log(
      "{\"kind\":\"step\",\"step\":1,\"loss\":3}\n\n[1]\nnonsense\n{\"kind\":5}\n{\"kind\":\"step\",\"step\":\"two\"}\n"
      "{\"kind\":\"evaluation\",\"step\":1,\"sources\":[{}]}\n{\"kind\":\"comet\",\"step\":1}\n{\"kind\":\"step\",\"step\":2,\"loss\":2}\n"
      "{\"kind\":\"step\",\"step\":3,\"lo");
  ASSERT_EQ(log.steps.size(), 2u);
  EXPECT_EQ(log.steps[1].loss, 2);
  ASSERT_EQ(log.evaluations.size(), 1u);
  EXPECT_TRUE(log.evaluations[0].rows.empty());
  EXPECT_TRUE(read_run_log("").steps.empty());
}

// A run that crashed after step 4 and went on from step 2.
TEST(RunLog, TheLaterOfTwoWritingsWins) {
  std::ostringstream text;
  for (const auto &[step, loss] : {std::pair{1, 10}, {2, 20}, {3, 30}, {4, 40}, {3, 31}})
    text << "{\"kind\":\"step\",\"step\":" << step << ",\"loss\":" << loss << "}\n";
  const RunLog log = read_run_log(text.str());
  ASSERT_EQ(log.steps.size(), 3u);
  EXPECT_EQ(log.steps[1].loss, 20);
  EXPECT_EQ(log.steps[2].loss, 31);
}

}  // namespace
}  // namespace trainhost
