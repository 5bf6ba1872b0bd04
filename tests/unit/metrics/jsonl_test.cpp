#include <algorithm>
#include <bit>
#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#include <sys/resource.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "metrics/metrics.h"
#include "unit/metrics/scratch_folder.h"

namespace trainhost {
namespace {

using Json = nlohmann::json;

const RunSummary kRun = {.recipe = "wsd.toml",
                         .directory = "runs/wsd",
                         .model = "minicpm",
                         .parameters = 10,
                         .total_steps = 100,
                         .total_tokens = 1'000,
                         .first_step = 0};

StepReport report(uint64_t step) {
  return {.step = step,
          .tokens = 10 * step,
          .phase = "main",
          .stage = "decay",
          .loss = 1.0 / static_cast<double>(step + 2),
          .learning_rate = 0.1 / 3,
          .gradient_norm = 1e-300,
          .skipped = step % 2 == 1,
          .seconds = 0.25,
          .tokens_per_second = 1e6 / 7,
          .utilisation = 0,
          .peak_memory = 12'345'678'901};
}

std::string contents(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void append(const std::string &path, const std::string &text) { std::ofstream(path, std::ios::binary | std::ios::app) << text; }

std::vector<Json> lines(const std::string &path) {
  std::vector<Json> parsed;
  std::istringstream text(contents(path));
  for (std::string line; std::getline(text, line);) parsed.push_back(Json::parse(line));
  return parsed;
}

// What a run writes from its start or from a checkpoint on.
void train(const std::string &path, uint64_t first, uint64_t last) {
  auto sink = open_jsonl_sink(path, first).value();
  RunSummary run = kRun;
  run.first_step = first;
  sink->begin(run);
  if (first == 0)
    sink->evaluation({.step = 0, .tokens = 0, .rows = {{.source = "code", .loss_per_token = 5, .loss_per_byte = 2, .tokens = 7}}});
  for (uint64_t step = first + 1; step <= last; ++step) {
    sink->step(report(step));
    sink->metric(step, "weighted/share", 0.5 * static_cast<double>(step));
    if (step % 5 == 0) sink->sample({.step = step, .prompt = "a", .continuation = " b\n"});
  }
  ASSERT_TRUE(sink->flush());
}

TEST(Jsonl, HoldsEveryReportInOrder) {
  const ScratchFolder folder;
  const std::string path = folder.file("log/metrics.jsonl");
  train(path, 0, 5);
  const auto all = lines(path);
  ASSERT_EQ(all.size(), 1 + 1 + 2 * 5 + 1u);
  EXPECT_EQ(all[0], Json({{"kind", "begin"},
                          {"recipe", "wsd.toml"},
                          {"directory", "runs/wsd"},
                          {"model", "minicpm"},
                          {"parameters", 10},
                          {"total_steps", 100},
                          {"total_tokens", 1'000},
                          {"first_step", 0}}));
  EXPECT_EQ(
      all[1],
      Json::parse(R"({"kind":"evaluation","step":0,"tokens":0,"sources":{"code":{"loss_per_token":5.0,"loss_per_byte":2.0,"tokens":7}}})"));
  EXPECT_EQ(all[2].at("stage"), "decay");
  EXPECT_EQ(all[2].at("skipped"), true);
  EXPECT_EQ(all[2].at("peak_memory"), 12'345'678'901u);
  EXPECT_EQ(all[3], Json({{"kind", "metric"}, {"step", 1}, {"name", "weighted/share"}, {"value", 0.5}}));
  EXPECT_EQ(all.back(), Json({{"kind", "sample"}, {"step", 5}, {"prompt", "a"}, {"continuation", " b\n"}}));
}

TEST(Jsonl, NumbersReadBackToTheSameBits) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  const std::vector<double> values = {
      0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 2.2250738585072011e-308, 3.141592653589793, 123456789012345680.0};
  auto sink = open_jsonl_sink(path, 0).value();
  for (const double value : values) sink->metric(1, "x", value);
  const auto read = lines(path);
  ASSERT_EQ(read.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(std::bit_cast<uint64_t>(read[i].at("value").get<double>()), std::bit_cast<uint64_t>(values[i])) << values[i];
}

TEST(Jsonl, HoldsTheSharesOfARound) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  const auto write = [&](const std::vector<std::string> &to_come) {
    auto sink = open_jsonl_sink(path, 5, to_come).value();
    sink->mix({.step = 5,
               .tokens = 160,
               .round = 1,
               .rows = {{.source = "web", .weight = 0.75, .loss_per_token = 2.5, .tokens = 128},
                        {.source = "books", .weight = 0.25, .loss_per_token = NAN, .tokens = 0}}});
    return sink->flush();
  };
  ASSERT_TRUE(write({}));
  EXPECT_EQ(lines(path)[0], Json::parse(R"({"kind":"mix","step":5,"tokens":160,"round":1,"sources":{
      "web":{"weight":0.75,"loss_per_token":2.5,"tokens":128},"books":{"weight":0.25,"loss_per_token":null,"tokens":0}}})"));
  ASSERT_TRUE(write({"mix"}));
  EXPECT_EQ(lines(path).size(), 1u) << "a run that resumes where the round begins reports it again";
}

TEST(Jsonl, HoldsEpochsAndPanel) {
  const ScratchFolder folder;
  const std::string path = folder.path() + "/metrics.jsonl";
  const auto sink = open_jsonl_sink(path, 0).value();
  sink->epochs({.step = 5,
                .tokens = 160,
                .rows = {{.source = "web", .epochs = 2, .unique_tokens = 80, .tokens_read = 160, .effective_share = 0.984}}});
  PanelReport panel{
      .step = 6, .tokens = 192, .since_tokens = 64, .phase = "decay", .rows = {}, .in_domain = {1, 1.5, 2}, .out_of_domain = {}};
  panel.rows.push_back({.source = "web", .loss = 1.5, .before = 2, .difference = -0.5, .sigma = NAN});
  sink->panel(panel);
  ASSERT_TRUE(sink->flush());
  EXPECT_EQ(lines(path)[0], Json::parse(R"({"kind":"epochs","step":5,"tokens":160,"sources":{
      "web":{"epochs":2.0,"unique_tokens":80,"tokens_read":160,"effective_share":0.984}}})"));
  EXPECT_EQ(lines(path)[1], Json::parse(R"({"kind":"panel","step":6,"tokens":192,"since_tokens":64,"phase":"decay","sources":{
      "web":{"out_of_domain":false,"loss_per_byte":1.5,"before":2.0,"difference":-0.5,"sigma":null,"worse":false}},
      "in_domain":{"sources":1,"loss_per_byte":1.5,"before":2.0},"out_of_domain":{"sources":0,"loss_per_byte":0.0,"before":0.0}})"));
}

TEST(Jsonl, HoldsWhatIsKnownOfHowTrainingGoes) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  auto sink = open_jsonl_sink(path, 0).value();
  sink->telemetry({.step = 6, .tokens = 192, .phase = "stable", .gradient_square = 0.5, .gradient_variance = 8, .noise_scale = 16});
  sink->telemetry({.step = 8,
                   .tokens = 256,
                   .phase = "stable",
                   .gradient_cosine = 0.25,
                   .d1 = -0.5,
                   .d2 = 1.5,
                   .curvature = 1.25,
                   .update_ratio = 0.125,
                   .largest_update_ratio = 0.375});
  const auto read = lines(path);
  EXPECT_EQ(read[0],
            Json::parse(R"({"kind":"telemetry","step":6,"tokens":192,"phase":"stable","gradient_square":0.5,"gradient_variance":8.0,
      "noise_scale":16.0,"gradient_cosine":null,"d1":null,"d2":null,"curvature":null,"update_ratio":null,"largest_update_ratio":null})"));
  EXPECT_EQ(read[1],
            Json::parse(R"({"kind":"telemetry","step":8,"tokens":256,"phase":"stable","gradient_square":null,"gradient_variance":null,
      "noise_scale":null,"gradient_cosine":0.25,"d1":-0.5,"d2":1.5,"curvature":1.25,"update_ratio":0.125,"largest_update_ratio":0.375})"));
}

TEST(Jsonl, HoldsTheCosineOfEachLayer) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  auto sink = open_jsonl_sink(path, 0).value();
  sink->layers({.step = 6, .tokens = 192, .rows = {{.block = "block.1", .cosine = 0.25}, {.block = "block.0", .cosine = NAN}}});
  EXPECT_EQ(lines(path)[0], Json::parse(R"({"kind":"layers","step":6,"tokens":192,"cosine":{"block.1":0.25,"block.0":null}})"));
}

TEST(Jsonl, WritesNullForWhatIsNotFiniteAndWholeCharactersOnly) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  auto sink = open_jsonl_sink(path, 0).value();
  sink->metric(1, "x", NAN);
  sink->metric(1, "x", -std::numeric_limits<double>::infinity());
  sink->sample({.step = 1, .prompt = "", .continuation = "cut \xe4\xb8"});
  const auto read = lines(path);
  EXPECT_TRUE(read[0].at("value").is_null() && read[1].at("value").is_null());
  EXPECT_EQ(read[2].at("continuation"), "cut \xef\xbf\xbd");
}

TEST(Jsonl, OfAResumedRunReadsAsThatOfAnUndisturbedOne) {
  const ScratchFolder folder;
  const std::string undisturbed = folder.file("one.jsonl"), resumed = folder.file("two.jsonl");
  train(undisturbed, 0, 20);
  train(resumed, 0, 13);  // past the checkpoint at 10
  append(resumed, R"({"kind":"step","step":14,"tok)");
  train(resumed, 10, 20);
  EXPECT_EQ(contents(resumed), contents(undisturbed));
  train(resumed, 20, 20);
  EXPECT_EQ(contents(resumed), contents(undisturbed));
}

TEST(Jsonl, DropsATornLineOfAStepThatIsKept) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  train(path, 0, 3);
  const std::string whole = contents(path);
  append(path, R"({"kind":"metric","step":3,"name":"x","value":1)");
  train(path, 3, 3);
  EXPECT_EQ(contents(path), whole);
}

TEST(Jsonl, DropsWhatTheCheckpointDoesNotKnowOf) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  train(path, 0, 10);
  ASSERT_EQ(lines(path).back().at("kind"), "sample");
  { const auto sink = open_jsonl_sink(path, 10, {"sample"}).value(); }
  EXPECT_EQ(lines(path).back().at("kind"), "metric") << "that of step 10 is to come";
  EXPECT_EQ(std::ranges::count_if(lines(path), [](const Json &line) { return line.at("kind") == "sample"; }), 1) << "that of step 5 stays";
}

TEST(Jsonl, BeginsAnewWithoutACheckpoint) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  train(path, 0, 3);
  const std::string whole = contents(path);
  train(path, 0, 3);
  EXPECT_EQ(contents(path), whole);
}

TEST(Jsonl, TakesMetricsFromAnyThread) {
  const ScratchFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  auto sink = open_jsonl_sink(path, 0).value();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (uint64_t step = 0; step < 100; ++step) sink->metric(step, "x", 1);
    });
  }
  for (auto &thread : threads) thread.join();
  EXPECT_EQ(lines(path).size(), 400u);
}

TEST(Jsonl, SaysWhyItCannotBeOpened) {
  const auto sink = open_jsonl_sink("/proc/trainhost/metrics.jsonl", 0);
  ASSERT_FALSE(sink);
  EXPECT_EQ(sink.error().kind, ErrorKind::kCheckpointWrite);
}

// A limit on the size of files stands for a full disk.
TEST(Jsonl, TellsAFailedWriteAtTheNextFlush) {
  const ScratchFolder folder;
  auto sink = open_jsonl_sink(folder.file("metrics.jsonl"), 0).value();
  EXPECT_TRUE(sink->flush());
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{.rlim_cur = 10, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &full);
  sink->metric(1, "x", 1);
  setrlimit(RLIMIT_FSIZE, &before);
  const auto result = sink->flush();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::kCheckpointWrite);
  EXPECT_FALSE(sink->flush());
}

}  // namespace
}  // namespace trainhost
