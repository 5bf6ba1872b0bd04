// What happens when one of several processes fails: the same to all of them, and nothing to the checkpoints that stand.
#include <cstdio>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/faulty_file_system.h"
#include "unit/checkpoint/rank_run.h"

namespace trainhost {
namespace {

using test::run_ranks;
using testing::AllOf;
using testing::HasSubstr;
using Fault = FaultyFileSystem::Fault;
using Survival = FaultyFileSystem::Survival;

const std::string kFolder = "/run/checkpoints";

// A run of three ranks that has announced the checkpoint of step 100, on a disk that every rank reaches in its own way.
class Scene {
 public:
  explicit Scene(std::string action) : action_(std::move(action)) {
    save_by(disk_, kFolder, 1, 90, Cut::kFirst);
    save_by(disk_, kFolder, kRanks, 100, Cut::kEven);
  }

  // All ranks do it, and that of `rank` meets a fault at its call number `call`. Returns whether it did.
  bool act(uint32_t rank, uint64_t call, Fault fault, uint64_t times) {
    std::vector<FaultyFileSystem> views(kRanks, FaultyFileSystem(disk_));
    run_ranks(kRanks, [&](ProcessGroup &group) {
      auto &files = views[group.rank()];
      auto opened = CheckpointDirectory::open(files, kFolder, group);
      ASSERT_TRUE(opened);
      if (group.rank() == rank) files.fail(call, fault, times);
      perform(*opened, files, group);
    });
    failed_call_ = views[rank].failed_call();
    return views[rank].failed();
  }

  const Outcomes &outcomes() const { return outcomes_; }
  const std::string &failed_call() const { return failed_call_; }
  FaultyFileSystem &disk() { return disk_; }

 private:
  void perform(CheckpointDirectory &directory, FileSystem &files, ProcessGroup &group) {
    if (action_ == "open") {
      outcomes_.add(CheckpointDirectory::open(files, kFolder, group));
    } else if (action_ == "prune") {
      outcomes_.add(directory.prune(1, {}));
    } else if (action_ == "load") {
      load(directory, group);
    } else {
      SmallRun run = action_ == "replace" ? SmallRun(100, 2) : SmallRun(110);
      outcomes_.add(directory.save(cut_contents(run, Cut::kFlat, group)));
    }
  }

  // What is loaded is what was saved, of whichever step, and of the same one on all ranks.
  void load(const CheckpointDirectory &directory, ProcessGroup &group) {
    SmallRun run(7, 9);
    auto pieces = cut_tensors(run, Cut::kScattered, group.rank(), group.size());
    const auto loaded = directory.load_newest(pieces, SmallRun::fingerprints());
    outcomes_.add(loaded);
    if (!loaded) return;
    ASSERT_TRUE(*loaded);
    EXPECT_TRUE(are_pieces_of(pieces, SmallRun((*loaded)->step)));
    const auto steps = group.gather(std::to_string((*loaded)->step));
    EXPECT_THAT(*steps, testing::Each(steps->front()));
  }

  static constexpr uint32_t kRanks = 3;
  std::string action_;
  FaultyFileSystem disk_;
  Outcomes outcomes_;
  std::string failed_call_;
};

// Whether the newest checkpoint is the one that a save or a replacement was about to publish.
bool newest_is_new(FileSystem &files, const std::string &action) {
  SmallRun run(7, 9);
  auto tensors = run.tensors();
  EXPECT_TRUE(open_alone(files, kFolder)->load_newest(tensors, SmallRun::fingerprints()));
  return run == (action == "replace" ? SmallRun(100, 2) : SmallRun(110));
}

class EveryCallOfARank : public testing::TestWithParam<const char *> {};

TEST_P(EveryCallOfARank, FailsOnAllAlike) {
  const std::string action = GetParam();
  uint64_t cases = 0;
  for (const auto &[fault, times] : {std::pair(Fault::kError, uint64_t{1}),
                                     {Fault::kError, FaultyFileSystem::kForEver},
                                     {Fault::kShortWrite, uint64_t{1}},
                                     {Fault::kWrongBytes, uint64_t{1}},
                                     {Fault::kPowerCut, uint64_t{1}}}) {
    for (uint32_t rank = 0; rank < 3; ++rank) {
      uint64_t call = 0;
      for (bool failed = true; failed && !HasFailure(); ++cases) {
        ++call;
        Scene scene(action);
        testing::internal::CaptureStderr();
        failed = scene.act(rank, call, fault, times);
        testing::internal::GetCapturedStderr();
        const std::string where = action + ", fault " + std::to_string(static_cast<int>(fault)) + " at call " + std::to_string(call) +
                                  " of rank " + std::to_string(rank) + " (" + scene.failed_call() + "): ";
        const Outcomes &outcomes = scene.outcomes();
        EXPECT_TRUE(outcomes.are_equal()) << where;
        const bool saves = action == "save" || action == "replace";
        if (!outcomes.succeeded() && saves) {
          // Wrong bytes on the disk are noticed by the rank that reads them back, which is another one.
          const std::string culprit = fault == Fault::kWrongBytes ? ": rank " : ": rank " + std::to_string(rank) + ": ";
          EXPECT_THAT(outcomes.error(), AllOf(HasSubstr("73 " + kFolder), HasSubstr(culprit))) << where;
        }
        scene.disk().restart(fault == Fault::kPowerCut ? Survival::kTorn : Survival::kSynced, call);
        // After a power cut what was not announced may be there all the same, whole.
        const bool acted = outcomes.succeeded() || (fault == Fault::kPowerCut && saves && newest_is_new(scene.disk(), action));
        expect_loads(scene.disk(), kFolder, 1, action == "save" && acted ? 110 : 100, Cut::kEven, where,
                     action == "replace" && acted ? 2 : 1);
        save_by(scene.disk(), kFolder, 1, 200, Cut::kFirst);
        expect_loads(scene.disk(), kFolder, 1, 200, Cut::kFirst, where);
        const auto names = *scene.disk().list(kFolder);
        for (const std::string &name : names) EXPECT_EQ(name.size(), std::string("step-000000100").size()) << where << name << " was left";
      }
    }
  }
  std::printf("%s: %lu cases of a failing rank, none hung, none lost\n", GetParam(), cases);
}

INSTANTIATE_TEST_SUITE_P(CheckpointRanks, EveryCallOfARank, testing::Values("save", "replace", "prune", "open", "load"),
                         [](const auto &info) { return std::string(info.param); });

}  // namespace
}  // namespace trainhost
