// Saving while training goes on: what is written is what was frozen, and nothing is announced before it is durable.
#include "checkpoint/background_save.h"

#include <cstdio>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/faulty_file_system.h"
#include "support/forwarding_file_system.h"
#include "support/thread_group.h"
#include "unit/checkpoint/cut_run.h"

namespace trainhost {
namespace {

using test::run_ranks;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;
using Fault = FaultyFileSystem::Fault;

const std::string kFolder = "/run/checkpoints";

// A rank that trains and saves in the background, to a disk of its own slowness.
class TrainingRank {
 public:
  TrainingRank(ProcessGroup &training, FileSystem &files, std::function<uint64_t()> available_bytes = cpu_available_bytes)
      : training_(training), saving_(*training.split(0)), directory_(*CheckpointDirectory::open(files, kFolder, *saving_)) {
    save_.emplace(
        directory_, training, [this](const SavedCheckpoint &saved) { announced_.push_back(saved); }, std::move(available_bytes));
  }

  // Saves the state of the step, which is overwritten as soon as the call returns.
  Result<> save(uint64_t step, uint32_t keep = 100, bool bfloat16_states = false) {
    SmallRun run(step, 1, bfloat16_states);
    const auto started = save_->save(cut_contents(run, Cut::kFlat, training_), {.keep = keep, .always_keep = {}});
    for (const NamedTensor &tensor : run.tensors()) std::ranges::fill(tensor.values.bytes(), std::byte{7});
    return started;
  }

  BackgroundSave &background() { return *save_; }
  void end() { save_.reset(); }

  std::vector<uint64_t> announced_steps() const {
    std::vector<uint64_t> steps;
    for (const SavedCheckpoint &saved : announced_) steps.push_back(saved.step);
    return steps;
  }
  const SavedCheckpoint &last() const { return announced_.back(); }

 private:
  ProcessGroup &training_;
  std::unique_ptr<ProcessGroup> saving_;
  CheckpointDirectory directory_;
  std::vector<SavedCheckpoint> announced_;
  std::optional<BackgroundSave> save_;
};

void expect_whole(FileSystem &files, uint64_t step, bool bfloat16_states = false) {
  SmallRun loaded(7, 9, bfloat16_states);
  auto tensors = loaded.tensors();
  const auto contents = open_alone(files, kFolder)->load_newest(tensors, SmallRun::fingerprints());
  ASSERT_TRUE(contents && *contents) << contents.error().message;
  EXPECT_EQ((*contents)->step, step);
  EXPECT_TRUE(loaded == SmallRun(step, 1, bfloat16_states)) << "other bits than those of step " << step;
}

TEST(BackgroundSave, WritesWhatWasFrozen) {
  constexpr uint64_t kSteps = 250;
  uint64_t saves = 0;
  for (const uint32_t size : {1u, 3u}) {
    const bool bfloat16_states = size == 3;
    FaultyFileSystem disk;
    run_ranks(size, [&](ProcessGroup &training) {
      FaultyFileSystem way(disk);
      SlowFileSystem files(way, std::chrono::milliseconds(training.rank() / 2));
      TrainingRank rank(training, files);
      for (uint64_t step = 1; step <= kSteps; ++step) {
        ASSERT_TRUE(rank.save(step, 2, bfloat16_states));
        for (int other = 0; other < 3; ++other) ASSERT_TRUE(rank.background().poll());
        if (step % 50 != 0) continue;
        ASSERT_TRUE(rank.background().finish());
        if (training.rank() == 0) expect_whole(way, step, bfloat16_states);
        (void)training.gather(std::string("looked"));
      }
      std::vector<uint64_t> all(kSteps);
      std::iota(all.begin(), all.end(), 1);
      EXPECT_EQ(rank.announced_steps(), all);
    });
    expect_whole(disk, kSteps, bfloat16_states);
    EXPECT_THAT(*disk.list(kFolder), ElementsAre("step-000000249", "step-000000250"));
    saves += kSteps;
  }
  std::printf("%lu saves, all of the step's bits\n", saves);
}

TEST(BackgroundSave, AnnouncesOnlyWhatIsDurable) {
  FaultyFileSystem disk;
  run_ranks(2, [&](ProcessGroup &training) {
    FaultyFileSystem way(disk);
    SlowFileSystem files(way, training.rank() == 1 ? 20ms : 0ms);
    TrainingRank rank(training, files);
    ASSERT_TRUE(rank.save(100));
    EXPECT_FALSE(way.exists(kFolder + "/step-000000100"));
    uint64_t boundaries = 0;
    for (; rank.announced_steps().empty(); ++boundaries) {
      std::this_thread::sleep_for(1ms);  // a step of training
      ASSERT_TRUE(rank.background().poll());
    }
    EXPECT_GT(boundaries, 10u) << "training waited for the disk";
    EXPECT_EQ(rank.last().path, kFolder + "/step-000000100");
    EXPECT_GT(rank.last().seconds, 0.02);
    EXPECT_LT(rank.last().stalled_seconds, rank.last().seconds);
    // All ranks saw it at the same boundary.
    EXPECT_THAT(*training.gather(std::to_string(boundaries)), testing::Each(std::to_string(boundaries)));
    if (training.rank() == 0) disk.restart(FaultyFileSystem::Survival::kSynced);
  });
  expect_whole(disk, 100);
}

TEST(BackgroundSave, WaitsForTheSaveBefore) {
  FaultyFileSystem disk;
  SlowFileSystem files(disk, 10ms);
  const auto alone = single_process();
  TrainingRank rank(*alone, files);
  ASSERT_TRUE(rank.save(1));
  ASSERT_TRUE(rank.save(2));
  EXPECT_THAT(rank.announced_steps(), ElementsAre(1));
  EXPECT_TRUE(disk.exists(kFolder + "/step-000000001"));
  ASSERT_TRUE(rank.background().finish());
  EXPECT_THAT(rank.announced_steps(), ElementsAre(1, 2));
  ASSERT_TRUE(rank.background().finish());
  ASSERT_TRUE(rank.background().poll());
  EXPECT_EQ(rank.announced_steps().size(), 2u);
}

TEST(BackgroundSave, GivesAFailureOfOneRankToAllAtOneBoundary) {
  FaultyFileSystem disk;
  run_ranks(3, [&](ProcessGroup &training) {
    FaultyFileSystem way(disk);
    SlowFileSystem files(way, std::chrono::milliseconds(2 * training.rank()));
    TrainingRank rank(training, files);
    ASSERT_TRUE(rank.save(100));
    ASSERT_TRUE(rank.background().finish());
    for (const bool polled : {true, false}) {
      if (training.rank() == 1) way.fail(1, Fault::kError, 1, "No space left on device");
      ASSERT_TRUE(rank.save(110));
      Result<> outcome;
      uint64_t boundaries = 0;
      for (; polled && outcome; ++boundaries) outcome = rank.background().poll();
      if (!polled) outcome = rank.save(120);  // the next save finds it
      ASSERT_FALSE(outcome);
      EXPECT_EQ(outcome.error().kind, ErrorKind::kCheckpointWrite);
      EXPECT_THAT(outcome.error().message,
                  AllOf(HasSubstr("/step-000000110: the checkpoint was not saved: rank 1: "), HasSubstr("No space left on device"),
                        HasSubstr("the earlier checkpoints are as they were")));
      EXPECT_THAT(*training.gather(std::to_string(boundaries)), testing::Each(std::to_string(boundaries)));
      EXPECT_THAT(rank.announced_steps(), ElementsAre(100));
    }
    if (training.rank() == 0) expect_whole(way, 100);
    (void)training.gather(std::string("looked"));
    ASSERT_TRUE(rank.save(130));
    ASSERT_TRUE(rank.background().finish());
  });
  expect_whole(disk, 130);
}

TEST(BackgroundSave, EndsWithTheSaveUnderWay) {
  FaultyFileSystem disk;
  SlowFileSystem files(disk, 10ms);
  const auto alone = single_process();
  TrainingRank rank(*alone, files);
  ASSERT_TRUE(rank.save(100));
  rank.end();
  expect_whole(disk, 100);
  EXPECT_TRUE(rank.announced_steps().empty());

  TrainingRank failing(*alone, files);
  disk.fail(1, Fault::kError, FaultyFileSystem::kForEver);
  testing::internal::CaptureStderr();
  ASSERT_TRUE(failing.save(110));
  failing.end();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("/step-000000110: the checkpoint was not saved: "));
  disk.fail(0, Fault::kError);
  expect_whole(disk, 100);
}

// One of three lacks it, and all of them wait.
TEST(BackgroundSave, SavesAtOnceWithoutMemoryForACopy) {
  FaultyFileSystem disk;
  testing::internal::CaptureStderr();
  run_ranks(3, [&](ProcessGroup &training) {
    FaultyFileSystem way(disk);
    TrainingRank rank(training, way, [&]() -> uint64_t { return training.rank() == 1 ? 30 : UINT64_MAX; });
    ASSERT_TRUE(rank.save(100));
    EXPECT_THAT(rank.announced_steps(), ElementsAre(100));
    EXPECT_EQ(rank.last().step, 100u);
    EXPECT_GT(rank.last().stalled_seconds, 0.9 * rank.last().seconds);
  });
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("there is not enough memory for a copy of the state: training waits until the checkpoint is written"));
  EXPECT_EQ(log.find("not enough"), log.rfind("not enough")) << "said by more than the one that lacks it";
  expect_whole(disk, 100);
}

TEST(BackgroundSave, AsksForMemoryOnce) {
  FaultyFileSystem disk;
  const auto alone = single_process();
  uint32_t asked = 0;
  TrainingRank rank(*alone, disk, [&] { return ++asked, UINT64_MAX; });
  for (const uint64_t step : {1, 2, 3}) ASSERT_TRUE(rank.save(step));
  ASSERT_TRUE(rank.background().finish());
  EXPECT_EQ(asked, 1u);
  EXPECT_GT(cpu_available_bytes(), uint64_t{1} << 20);
}

}  // namespace
}  // namespace trainhost
