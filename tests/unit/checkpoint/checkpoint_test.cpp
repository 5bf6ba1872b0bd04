#include "checkpoint/checkpoint.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_directory.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kMilliard = 1'000'000'000;

// A folder of checkpoints on the machine's own file system.
class CheckpointTest : public testing::Test {
 protected:
  CheckpointDirectory open() { return *CheckpointDirectory::open(posix_file_system(), folder_); }

  std::string save(uint64_t step, const std::string &label = "", uint64_t seed = 1) {
    SmallRun run(step, seed);
    const auto path = directory_.save(run.contents(label));
    EXPECT_TRUE(path) << path.error().message;
    return path.value_or("");
  }

  // Flips a bit in the middle of a file.
  static void damage(const std::string &path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(path) / 2);
    file.seekg(middle);
    const int byte = file.get();
    file.seekp(middle);
    file.put(static_cast<char>(byte ^ 1));
  }

  std::vector<uint64_t> steps() {
    std::vector<uint64_t> result;
    const auto checkpoints = directory_.list();
    for (const CheckpointInfo &info : *checkpoints) result.push_back(info.step);
    return result;
  }

  TemporaryDirectory temporary_;
  std::string folder_ = temporary_ / "run/checkpoints";
  CheckpointDirectory directory_ = open();
};

TEST_F(CheckpointTest, GivesEveryBitBack) {
  SmallRun saved(1000);
  const auto path = directory_.save(saved.contents("end of stable"));
  ASSERT_TRUE(path) << path.error().message;
  EXPECT_EQ(*path, folder_ + "/step-000001000");

  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  const auto contents = open().load_newest(tensors, SmallRun::fingerprints());
  ASSERT_TRUE(contents) << contents.error().message;
  ASSERT_TRUE(*contents);
  EXPECT_TRUE(loaded == saved);
  EXPECT_EQ((*contents)->step, 1000u);
  EXPECT_EQ((*contents)->tokens, 4096000u);
  EXPECT_EQ((*contents)->label, "end of stable");
  EXPECT_EQ((*contents)->trainer_state, "{\"spikes\":[1,2]}");
  EXPECT_EQ((*contents)->fingerprints, SmallRun::fingerprints());
}

TEST_F(CheckpointTest, LoadsTheModelAlone) {
  SmallRun saved(10), loaded(7, 9);
  const auto path = *directory_.save(saved.contents());
  auto tensors = loaded.tensors();
  tensors.pop_back();  // the optimizer's
  EXPECT_TRUE(directory_.load(path, tensors, {}, LoadScope::kModel));
  EXPECT_EQ(tensors[0].values[0], saved.tensors()[0].values[0]);
  const auto all = directory_.load(path, tensors, {});
  ASSERT_FALSE(all);
  EXPECT_THAT(all.error().message, HasSubstr("holds tensor \"optimizer.embedding.weight.first moment"));
}

TEST_F(CheckpointTest, FindsNothingInAnEmptyFolder) {
  SmallRun run;
  auto tensors = run.tensors();
  const auto contents = directory_.load_newest(tensors, SmallRun::fingerprints());
  ASSERT_TRUE(contents);
  EXPECT_FALSE(*contents);
}

TEST_F(CheckpointTest, OrdersByNumberAcrossTheTenthDigit) {
  for (const uint64_t step : {kMilliard, uint64_t{2}, kMilliard - 1, uint64_t{10}}) save(step);
  EXPECT_THAT(steps(), ElementsAre(2, 10, kMilliard - 1, kMilliard));
  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  EXPECT_EQ((*directory_.load_newest(tensors, SmallRun::fingerprints()))->step, kMilliard);
  ASSERT_TRUE(directory_.prune(2, {}));
  EXPECT_THAT(steps(), ElementsAre(kMilliard - 1, kMilliard));
}

}  // namespace
}  // namespace trainhost
