// Full disks: real ones where the test may mount one, and what comes closest otherwise.
#include <csignal>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "checkpoint/checkpoint.h"
#include "support/faulty_file_system.h"
#include "support/temporary_directory.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// A state of some size: one tensor of `size` values besides the small run's.
class BigRun {
 public:
  BigRun(uint64_t step, size_t size) : small_(step), values_(size, static_cast<float>(step)) {}
  CheckpointContents contents() {
    CheckpointContents contents = small_.contents();
    contents.tensors.push_back({.name = "model.big", .shape = {static_cast<int64_t>(values_.size())}, .values = values_});
    return contents;
  }

 private:
  SmallRun small_;
  std::vector<float> values_;
};

void expect_refused(const Result<std::string> &saved, const std::string &reason) {
  ASSERT_FALSE(saved);
  EXPECT_EQ(exit_code(saved.error().kind), 73);
  EXPECT_THAT(saved.error().message,
              AllOf(HasSubstr(reason), HasSubstr("step-000000110: the checkpoint was not saved: "), HasSubstr("; it needs "),
                    HasSubstr(" bytes, and "), HasSubstr(" bytes are free; the earlier checkpoints are as they were")));
}

// The checkpoint of step 100 is whole and alone.
void expect_earlier_intact(FileSystem &files, const std::string &folder) {
  EXPECT_THAT(*files.list(folder), ElementsAre("step-000000100"));
  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  const auto contents = open_alone(files, folder)->load_newest(tensors, SmallRun::fingerprints());
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_TRUE(loaded == SmallRun(100));
}

TEST(DiskFull, IsNoticedBeforeAnythingIsTouched) {
  FaultyFileSystem files;
  auto directory = *open_alone(files, "/checkpoints");
  ASSERT_TRUE(directory.save(SmallRun(100).contents()));
  files.set_capacity(UINT64_MAX, 20000);
  files.fail(0, FaultyFileSystem::Fault::kError);
  BigRun big(110, 4000);
  const auto saved = directory.save(big.contents());
  expect_refused(saved, "there is not enough space; it needs 36864 bytes, and 20000 bytes are free");
  expect_earlier_intact(files, "/checkpoints");
}

// Another program takes the space that was free when it was asked for.
TEST(DiskFull, IsSurvivedInTheMiddleOfASave) {
  SmallRun run(110);
  uint64_t capacity = 0;
  for (bool saved = false; !saved; capacity += 97) {
    FaultyFileSystem files;
    auto directory = *open_alone(files, "/checkpoints");
    ASSERT_TRUE(directory.save(SmallRun(100).contents()));
    files.set_capacity(capacity, UINT64_MAX / 2);
    const auto result = directory.save(run.contents());
    saved = result.has_value();
    if (saved) break;
    expect_refused(result, "No space left on device");
    expect_earlier_intact(files, "/checkpoints");
  }
  EXPECT_GT(capacity, 4000u);
}

TEST(DiskFull, IsSurvivedOnARealDisk) {
  TemporaryDirectory disk;
  if (::mount("tmpfs", disk.path().c_str(), "tmpfs", 0, "size=2m") != 0) GTEST_SKIP() << "no right to mount a small disk here";
  const std::string folder = disk / "checkpoints";
  {
    auto directory = *open_alone(posix_file_system(), folder);
    EXPECT_TRUE(directory.save(SmallRun(100).contents()));
    BigRun big(110, 1 << 20);
    expect_refused(directory.save(big.contents()), "there is not enough space; it needs 42");
    expect_earlier_intact(posix_file_system(), folder);
  }
  ::umount(disk.path().c_str());
}

// The kernel refuses a write in the middle of a file, after a short one, as a quota does.
TEST(DiskFull, IsSurvivedWhenTheKernelRefusesAWrite) {
  TemporaryDirectory temporary;
  auto directory = *open_alone(posix_file_system(), temporary.path());
  ASSERT_TRUE(directory.save(SmallRun(100).contents()));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 100000, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  BigRun big(110, 1 << 20);
  const auto saved = directory.save(big.contents());
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  expect_refused(saved, "model.safetensors: cannot be written: File too large");
  expect_earlier_intact(posix_file_system(), temporary.path());
}

}  // namespace
}  // namespace trainhost
