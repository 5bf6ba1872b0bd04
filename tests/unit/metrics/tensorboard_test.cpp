// Written here, read back by TensorBoard's own package.
#include <cmath>
#include <cstdio>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "metrics/event_record.h"
#include "metrics/metrics.h"
#include "unit/metrics/scratch_folder.h"

namespace trainhost {
namespace {

using Json = nlohmann::json;

Json read_back(const std::string &folder) {
  const std::string command = "python3 '" TRAINHOST_SOURCE_DIR "/tests/unit/metrics/read_tensorboard.py' '" + folder + "'";
  std::FILE *pipe = popen(command.c_str(), "r");
  std::string output;
  char piece[4096];
  for (size_t got; (got = std::fread(piece, 1, sizeof piece, pipe)) > 0;) output.append(piece, got);
  EXPECT_EQ(pclose(pipe), 0);
  return Json::parse(output, nullptr, false);
}

StepReport report(uint64_t step, double loss) {
  StepReport report;
  report.step = step;
  report.loss = loss;
  report.learning_rate = 0.5;
  report.gradient_norm = 0.25;
  report.tokens_per_second = 1024;
  return report;
}

Json points(const Json &found, const std::string &tag) { return found.at("scalars").at(tag); }

TEST(Tensorboard, ReadsScalarsEvaluationsAndTexts) {
  const ScratchFolder folder;
  auto sink = open_tensorboard_sink(folder.file("run"), 0).value();
  sink->step(report(1, 3.5));
  sink->step(report(200, 3.25));
  sink->evaluation({.step = 200, .tokens = 5, .rows = {{.source = "中文", .loss_per_token = 4.5, .loss_per_byte = 1.5, .tokens = 7}}});
  sink->sample({.step = 200, .prompt = "Once", .continuation = " upon\na *time* \xe4\xb8"});
  sink->telemetry({.step = 200, .phase = "", .d1 = -0.5, .update_ratio = 0.125});
  sink->layers({.step = 200, .rows = {{.block = "block.0", .cosine = 0.75}}});
  sink->mix({.step = 200,
             .tokens = 5,
             .round = 3,
             .rows = {{.source = "中文", .weight = 0.25, .loss_per_token = 2.5, .tokens = 7},
                      {.source = "none", .weight = 0.75, .loss_per_token = NAN, .tokens = 0}}});
  sink->metric(200, "weighted/share", -0.75);
  ASSERT_TRUE(sink->flush());

  const Json found = read_back(folder.file("run"));
  ASSERT_TRUE(found.is_object());
  EXPECT_EQ(found.at("versions"), Json({"brain.Event:2"}));
  EXPECT_EQ(points(found, "train/loss"), Json::parse("[[1, 3.5], [200, 3.25]]"));
  EXPECT_EQ(points(found, "train/learning_rate"), Json::parse("[[1, 0.5], [200, 0.5]]"));
  EXPECT_EQ(points(found, "train/gradient_norm"), Json::parse("[[1, 0.25], [200, 0.25]]"));
  EXPECT_EQ(points(found, "train/tokens_per_second"), Json::parse("[[1, 1024.0], [200, 1024.0]]"));
  EXPECT_EQ(points(found, "held_out_loss_per_token/中文"), Json::parse("[[200, 4.5]]"));
  EXPECT_EQ(points(found, "held_out_loss_per_byte/中文"), Json::parse("[[200, 1.5]]"));
  EXPECT_EQ(points(found, "mix/中文"), Json::parse("[[200, 0.25]]"));
  EXPECT_EQ(points(found, "mix/none"), Json::parse("[[200, 0.75]]"));
  EXPECT_EQ(points(found, "training_loss_per_token/中文"), Json::parse("[[200, 2.5]]"));
  EXPECT_FALSE(found.at("scalars").contains("training_loss_per_token/none"));
  EXPECT_EQ(points(found, "layer_cosine/block.0"), Json::parse("[[200, 0.75]]"));
  EXPECT_EQ(points(found, "telemetry/d1"), Json::parse("[[200, -0.5]]"));
  EXPECT_EQ(points(found, "telemetry/update_ratio"), Json::parse("[[200, 0.125]]"));
  EXPECT_FALSE(found.at("scalars").contains("telemetry/noise_scale")) << "is not known";
  EXPECT_EQ(points(found, "weighted/share"), Json::parse("[[200, -0.75]]"));
  EXPECT_EQ(found.at("texts"), Json({{"samples/Once", Json::parse(R"([[200, "    Once upon\n    a *time* \ufffd"]])")}}));
}

TEST(Tensorboard, DropsThePointsThatAResumedRunMakesAgain) {
  const ScratchFolder folder;
  for (const uint64_t first : {uint64_t{0}, uint64_t{3}}) {
    auto sink = open_tensorboard_sink(folder.path(), first).value();
    for (uint64_t step = first + 1; step <= first + 5; ++step) sink->step(report(step, first == 0 ? 1 : 2));
    ASSERT_TRUE(sink->flush());
  }
  const Json found = read_back(folder.path());
  EXPECT_EQ(found.at("versions").size(), 2u);
  EXPECT_EQ(points(found, "train/loss"), Json::parse("[[1,1.0],[2,1.0],[3,1.0],[4,2.0],[5,2.0],[6,2.0],[7,2.0],[8,2.0]]"));
}

// The check value of CRC-32C is e3069283 for "123456789"; masking turns it right by 15 bits and adds a282ead8.
TEST(EventRecord, ChecksumsAreMaskedCrc32c) {
  EXPECT_EQ(masked_crc32c("123456789"), ((0xe3069283u >> 15) | (0xe3069283u << 17)) + 0xa282ead8u);
}

TEST(Tensorboard, TakesMetricsFromAnyThread) {
  const ScratchFolder folder;
  auto sink = open_tensorboard_sink(folder.path(), 0).value();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (uint64_t step = 0; step < 50; ++step) sink->metric(step, "x", 1);
    });
  }
  for (auto &thread : threads) thread.join();
  ASSERT_TRUE(sink->flush());
  EXPECT_EQ(points(read_back(folder.path()), "x").size(), 200u);
}

}  // namespace
}  // namespace trainhost
