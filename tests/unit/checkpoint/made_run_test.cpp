#include "app/made_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/average.h"
#include "support/faulty_file_system.h"
#include "unit/checkpoint/walking_run.h"

namespace trainhost {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class MadeRun : public testing::Test {
 protected:
  MadeRun() {
    auto directory = *open_alone(files_, "/run/checkpoints");
    for (int i = 0; i < 2; ++i) {
      run_.step();
      EXPECT_TRUE(directory.save(run_.contents()));
    }
    EXPECT_TRUE(write_atomically(files_, "/run/recipe.toml", "the recipe"));
    EXPECT_TRUE(write_atomically(files_, "/run/tokenizer.state", "the state"));
  }

  Result<> make(const std::string &output) {
    return make_run(files_, output, Recipe{}, "/run", [&](const std::string &folder) -> Result<> {
      const auto made = average_checkpoints(files_, {{"/run/checkpoints/step-000000100", 0.5}, {"/run/checkpoints/step-000000200", 0.5}},
                                            "mean", folder, [](uint64_t, uint64_t) {});
      return made ? Result<>() : tl::unexpected(made.error());
    });
  }

  FaultyFileSystem files_;
  WalkingRun run_;
};

TEST_F(MadeRun, HoldsWhatARunHolds) {
  ASSERT_TRUE(make("/average"));
  EXPECT_THAT(*files_.list("/average"), ElementsAre("checkpoints", "recipe.toml", "tokenizer.state"));
  EXPECT_EQ(*files_.read("/average/tokenizer.state"), "the state");
  EXPECT_THAT(*files_.read("/average/recipe.toml"), HasSubstr("[run]\n"));
  EXPECT_THAT(*files_.list("/average/checkpoints"), ElementsAre("step-000000200"));
}

TEST_F(MadeRun, DoesNotOverwrite) {
  const auto made = make("/run/");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::kUsage);
  EXPECT_EQ(made.error().message, "/run: is there already and is not overwritten; name another directory, or remove it");
  EXPECT_EQ(*files_.read("/run/recipe.toml"), "the recipe");
}

TEST_F(MadeRun, AsksForSpaceFirst) {
  files_.set_capacity(UINT64_MAX, 100);
  const auto made = make("/average");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::kCheckpointWrite);
  EXPECT_THAT(made.error().message, HasSubstr("bytes, and 100 are free"));
  EXPECT_FALSE(files_.exists("/average.partial"));
}

TEST_F(MadeRun, BelongsToTheRunOfACheckpoint) {
  EXPECT_EQ(*run_of(files_, "/run/checkpoints/step-000000200"), "/run");
  EXPECT_EQ(*run_of(files_, "/run/checkpoints/step-000000200/"), "/run");
  EXPECT_EQ(run_of(files_, "/run/checkpoints").error().kind, ErrorKind::kUsage);
}

// Whatever fails, the run is whole or not there, and nothing else is left.
TEST_F(MadeRun, LeavesNothingWhenACallFails) {
  ASSERT_TRUE(make("/reference"));
  const std::string reference = *files_.read("/reference/checkpoints/step-000000200/SHA256SUMS").map([](std::string sums) {
    return sums.substr(sums.find('\n'));  // the manifest has the time in it
  });
  uint64_t cases = 0;
  using Fault = FaultyFileSystem::Fault;
  for (const Fault fault : {Fault::kError, Fault::kShortWrite, Fault::kWrongBytes}) {
    uint64_t call = 0;
    for (bool failed = true; failed; ++cases) {
      files_.fail(++call, fault);
      const auto made = make("/average");
      failed = files_.failed();
      const std::string where = "fault " + std::to_string(static_cast<int>(fault)) + " at call " + files_.failed_call();
      files_.restart(FaultyFileSystem::Survival::kSynced);
      EXPECT_EQ(files_.exists("/average"), made.has_value()) << where;
      EXPECT_FALSE(files_.exists("/average.partial")) << where;
      if (made) {
        const std::string sums = *files_.read("/average/checkpoints/step-000000200/SHA256SUMS");
        EXPECT_EQ(sums.substr(sums.find('\n')), reference) << where;
      }
      ASSERT_TRUE(files_.remove_all("/average"));
      ASSERT_TRUE(files_.sync_directory("/"));
    }
  }
  EXPECT_GT(cases, 60u);
}

}  // namespace
}  // namespace trainhost
