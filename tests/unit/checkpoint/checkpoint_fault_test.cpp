// Every way in which the disk or the machine can fail during a save, one call at a time (the loop of SQLite's tests).
#include <algorithm>
#include <cstdio>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "support/faulty_file_system.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Fault = FaultyFileSystem::Fault;
using Survival = FaultyFileSystem::Survival;

const std::string kFolder = "/runs/one/checkpoints";

// A run that has announced the checkpoint of step 100 and is about to do one thing more.
class Scenario {
 public:
  explicit Scenario(std::string name) : name_(std::move(name)) {
    EXPECT_TRUE(directory_.save(SmallRun(90).contents()));
    EXPECT_TRUE(directory_.save(SmallRun(100).contents()));
  }

  // What may be interrupted: a save of a new step; one that replaces another of its step; pruning; opening after an interrupted save
  // of the one kind or the other.
  Result<> act() {
    if (opens()) return open_alone(files_, kFolder).map([](auto &&) {});
    if (name_ == "prune") return directory_.prune(1, {});
    const bool replaces = name_ == "replace";
    return directory_.save(replaces ? SmallRun(100, 2).contents() : SmallRun(110).contents()).map([](auto &&) {});
  }

  // For the openings: cuts replacing saves ever later until one leaves behind what is wanted; it is the same call each time.
  void prepare() {
    static std::map<std::string, uint64_t> last_calls;
    for (uint64_t &call = last_calls.try_emplace(name_, 1).first->second; opens(); ++call) {
      auto directory = open_alone(files_, kFolder);
      files_.fail(call, Fault::kPowerCut);
      ASSERT_FALSE(directory->save(SmallRun(100, 2).contents()));
      files_.restart(Survival::kEverything);
      if (stands_to_be_reclaimed()) return;
    }
  }

  bool opens() const { return name_.starts_with("open"); }

  // After the fault: one of the announced states loads bit-equal, and if `acted`, the newest of them; and the run can save again.
  void check(bool acted, const std::string &where) {
    auto directory = open_alone(files_, kFolder);
    ASSERT_TRUE(directory) << where << ": " << directory.error().message;
    SmallRun loaded(7, 9);
    auto tensors = loaded.tensors();
    const auto contents = directory->load_newest(tensors, SmallRun::fingerprints());
    ASSERT_TRUE(contents) << where << ": " << contents.error().message;
    ASSERT_TRUE(*contents) << where << ": nothing was found";
    if (name_ == "prune") {
      const auto checkpoints = directory->list();
      for (const CheckpointInfo &info : *checkpoints)
        EXPECT_TRUE(directory->verify(info.path)) << where << ": " << info.path << " looks damaged";
    }
    const SmallRun before(100), after = name_ == "replace" ? SmallRun(100, 2) : name_ == "save" ? SmallRun(110) : SmallRun(100);
    const bool unannounced = name_ == "open_after_renaming" && loaded == SmallRun(100, 2);  // whole, and as good as the one before
    EXPECT_TRUE(loaded == after || unannounced || (!acted && loaded == before))
        << where << ": step " << (*contents)->step << " with other bits";

    const auto saved = directory->save(SmallRun(200).contents());
    ASSERT_TRUE(saved) << where << ": " << saved.error().message;
    EXPECT_EQ((*directory->load_newest(tensors, SmallRun::fingerprints()))->step, 200u) << where;
    EXPECT_TRUE(loaded == SmallRun(200)) << where;
    const auto names = files_.list(kFolder);
    for (const std::string &name : *names)
      EXPECT_EQ(name.size(), std::string("step-000000100").size()) << where << ": " << name << " was left";

    files_.restart(Survival::kSynced);
    SmallRun found(7, 9);
    auto found_tensors = found.tensors();
    const auto after_power_cut = directory->load_newest(found_tensors, SmallRun::fingerprints());
    ASSERT_TRUE(after_power_cut && *after_power_cut) << where << ": nothing is left after a power cut";
    EXPECT_TRUE(found == SmallRun(200)) << where << ": step " << (*after_power_cut)->step << " after a power cut";
  }

  FaultyFileSystem &files() { return files_; }

 private:
  bool stands_to_be_reclaimed() {
    const auto names = files_.list(kFolder);
    const std::string mark = name_ == "open_after_partial" ? ".partial-" : ".replaced-";
    const bool checkpoint_is_there = files_.exists(kFolder + "/step-000000100");
    const bool left =
        std::any_of(names->begin(), names->end(), [&](const std::string &name) { return name.find(mark) != std::string::npos; });
    return left && checkpoint_is_there == (name_ != "open_after_stepping_aside");
  }

  std::string name_;
  FaultyFileSystem files_;
  CheckpointDirectory directory_ = *open_alone(files_, kFolder);
};

class EveryCall : public testing::TestWithParam<const char *> {};

// The power goes, or the process dies, at call i = 1, 2, ... until nothing is cut off any more.
TEST_P(EveryCall, SurvivesAPowerCut) {
  constexpr uint64_t kTornStates = 8;
  uint64_t call = 0, cases = 0;
  for (bool cut = true; cut && !HasFailure();) {
    ++call;
    for (uint64_t state = 0; state < 2 + kTornStates; ++state) {
      Scenario scenario(GetParam());
      scenario.prepare();
      scenario.files().fail(call, Fault::kPowerCut);
      const bool acted = scenario.act().has_value();
      cut = scenario.files().failed();
      const std::string where =
          "cut at call " + std::to_string(call) + " (" + scenario.files().failed_call() + "), state " + std::to_string(state);
      const Survival survival = state == 0 ? Survival::kEverything : state == 1 ? Survival::kSynced : Survival::kTorn;
      scenario.files().restart(survival, state * 1000);
      scenario.check(acted, where);
      ++cases;
    }
  }
  std::printf("%s: cut at each of %lu calls, %lu cases, 0 lost\n", GetParam(), call - 1, cases);
  EXPECT_GE(call, 4u);
}

// Call i fails, or i and the next, and the same is tried again; or it and all after it fail. Then the power goes as well, so that what was
// only believed to be written is found out.
TEST_P(EveryCall, SurvivesAFailingDisk) {
  uint64_t cases = 0;
  for (const Fault fault : {Fault::kError, Fault::kShortWrite, Fault::kWrongBytes}) {
    for (const uint64_t times : {uint64_t{1}, uint64_t{2}, FaultyFileSystem::kForEver}) {
      if (times == 2 && fault != Fault::kError) continue;
      uint64_t call = 0;
      for (bool failed = true; failed && !HasFailure();) {
        ++call;
        for (const Survival survival : {Survival::kSynced, Survival::kTorn}) {
          Scenario scenario(GetParam());
          scenario.prepare();
          scenario.files().fail(call, fault, times, "No space left on device");
          auto acted = scenario.act();
          failed = scenario.files().failed();
          const std::string where = "fault " + std::to_string(static_cast<int>(fault)) + " at call " + std::to_string(call) + " (" +
                                    scenario.files().failed_call() + ")";
          if (!acted && !scenario.opens() && std::string(GetParam()) != "prune") {
            EXPECT_EQ(acted.error().kind, ErrorKind::kCheckpointWrite) << where;
            EXPECT_THAT(acted.error().message, AllOf(HasSubstr(kFolder), HasSubstr("; it needs "), HasSubstr(" bytes are free"))) << where;
          }
          if (!acted && times != FaultyFileSystem::kForEver) {
            acted = scenario.act();  // the trainer may try again
            EXPECT_TRUE(acted || times > 1) << where << ": " << acted.error().message;
          }
          scenario.files().restart(survival, call);
          scenario.check(acted.has_value(), where);
          ++cases;
        }
      }
    }
  }
  std::printf("%s: %lu cases of failing calls, 0 lost\n", GetParam(), cases);
}

INSTANTIATE_TEST_SUITE_P(Checkpoint, EveryCall,
                         testing::Values("save", "replace", "prune", "open_after_partial", "open_after_stepping_aside",
                                         "open_after_renaming"),
                         [](const auto &info) { return std::string(info.param); });

}  // namespace
}  // namespace trainhost
