#include "base/file_system.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/faulty_file_system.h"
#include "support/temporary_directory.h"

namespace trainhost {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

class PosixFileSystemTest : public testing::Test {
 protected:
  FileSystem &files_ = posix_file_system();
  TemporaryDirectory directory_;
};

TEST_F(PosixFileSystemTest, WritesAndReadsAnyPart) {
  const std::string path = directory_ / "file";
  {
    auto file = *files_.create(path);
    ASSERT_TRUE(file->append("first "));
    ASSERT_TRUE(file->append("second"));
    ASSERT_TRUE(file->sync());
    ASSERT_TRUE(file->close());
  }
  EXPECT_EQ(files_.read(path), "first second");
  const auto file = *files_.open(path);
  EXPECT_EQ(file->size(), 12u);
  std::string part(6, ' ');
  EXPECT_TRUE(file->read(6, std::as_writable_bytes(std::span(part))));
  EXPECT_EQ(part, "second");
  const auto beyond = file->read(7, std::as_writable_bytes(std::span(part)));
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().kind, ErrorKind::kData);
  EXPECT_EQ(beyond.error().message, path + ": ends at byte 12, where more was expected");
}

TEST_F(PosixFileSystemTest, OpensNothingButRegularFiles) {
  const auto message = [&](const std::string &name) { return files_.open(directory_ / name).error().message; };
  std::ofstream(directory_ / "file") << "x";
  std::filesystem::create_symlink("file", directory_ / "link");
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(message("link"), (directory_ / "link") + ": is a symbolic link, which is not followed here");
  EXPECT_EQ(message("pipe"), (directory_ / "pipe") + ": is not a regular file");
  EXPECT_EQ(message("."), (directory_ / ".") + ": is not a regular file");
  EXPECT_EQ(message("absent"), (directory_ / "absent") + ": cannot be opened: No such file or directory");
  EXPECT_EQ(files_.open("/dev/zero").error().message, "/dev/zero: is not a regular file");
}

TEST_F(PosixFileSystemTest, TellsDirectoriesFromLinksToThem) {
  std::filesystem::create_directory_symlink(directory_.path(), directory_ / "link");
  EXPECT_TRUE(files_.is_directory(directory_.path()));
  EXPECT_FALSE(files_.is_directory(directory_ / "link"));
  EXPECT_FALSE(files_.is_directory(directory_ / "absent"));
  EXPECT_THAT(*files_.list(directory_.path()), ElementsAre("link"));
}

// /dev/full is a disk without space.
TEST_F(PosixFileSystemTest, SaysHowMuchIsFreeWhenSpaceRanOut) {
  auto file = *files_.create("/dev/full");
  const auto written = file->append("x");
  ASSERT_FALSE(written);
  EXPECT_EQ(exit_code(written.error().kind), 73);
  EXPECT_THAT(written.error().message, MatchesRegex("/dev/full: cannot be written: No space left on device; [0-9]+ bytes are free there"));
}

TEST_F(PosixFileSystemTest, NamesPathAndReason) {
  const std::string absent = directory_ / "absent/file";
  for (const std::string &message : {files_.create(absent).error().message, files_.rename(absent, absent + "2").error().message,
                                     files_.sync_directory(absent).error().message, files_.read(absent).error().message,
                                     files_.list(absent).error().message, files_.free_bytes(absent).error().message}) {
    EXPECT_THAT(message, HasSubstr(absent));
    EXPECT_THAT(message, HasSubstr("No such file or directory"));
  }
  EXPECT_TRUE(files_.remove_all(absent));
}

// Whatever call fails or is cut off, one of the two contents stands whole.
TEST(WriteAtomically, LeavesTheOldOrTheNew) {
  using Fault = FaultyFileSystem::Fault;
  using Survival = FaultyFileSystem::Survival;
  for (const Fault fault : {Fault::kError, Fault::kShortWrite, Fault::kPowerCut}) {
    for (const Survival survival : {Survival::kEverything, Survival::kSynced, Survival::kTorn}) {
      uint64_t call = 0;
      for (bool failed = true; failed;) {
        FaultyFileSystem files;
        ASSERT_TRUE(write_atomically(files, "/file", "the old"));
        files.fail(++call, fault);
        const bool written = write_atomically(files, "/file", "the new one").has_value();
        failed = files.failed();
        const std::string where = files.failed_call();
        files.restart(survival, call);
        const std::string contents = files.read("/file").value_or("none");
        EXPECT_TRUE(contents == "the new one" || (!written && contents == "the old")) << where << ": " << contents;
      }
      EXPECT_EQ(call, 7u);
    }
  }
}

}  // namespace
}  // namespace trainhost
