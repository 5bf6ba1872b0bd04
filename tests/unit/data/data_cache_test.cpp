#include "data/data_cache.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "data/file_hashes.h"
#include "data/file_lock.h"
#include "temporary_folder.h"

namespace trainhost {
namespace {

DataCache cache_in(const TemporaryFolder &folder, const std::atomic<bool> *cancelled = nullptr) {
  return DataCache(folder.path(), posix_file_system(), cancelled);
}

DataCache::Fill writing(const std::string &contents) {
  return [contents](const std::string &folder) { return write_atomically(posix_file_system(), folder + "/f", contents); };
}

TEST(DataCache, FillsAnEntryOnce) {
  const TemporaryFolder folder;
  auto cache = cache_in(folder);
  EXPECT_FALSE(cache.has("kind", "key"));
  EXPECT_EQ(cache.entry("kind", "key", writing("one")).value(), folder.path() + "/kind/key");
  EXPECT_EQ(contents_of(*cache.entry("kind", "key", writing("two")) + "/f"), "one");
  EXPECT_EQ(contents_of(*cache.entry("kind", "other", writing("two")) + "/f"), "two");
}

TEST(DataCache, LeavesNothingOfAFillThatFails) {
  const TemporaryFolder folder;
  auto cache = cache_in(folder);
  const auto outcome = cache.entry("kind", "key", [](const std::string &path) -> Result<> {
    std::ofstream(path + "/f") << "half";
    return failure(ErrorKind::kData, "torn");
  });
  EXPECT_EQ(outcome.error().message, "torn");
  EXPECT_FALSE(cache.has("kind", "key"));
  EXPECT_EQ(contents_of(*cache.entry("kind", "key", writing("whole")) + "/f"), "whole");
}

TEST(DataCache, ThrowsAwayWhatAKilledProcessLeft) {
  const TemporaryFolder folder;
  folder.write("kind/key.partial/rest", "half");
  auto cache = cache_in(folder);
  const std::string entry = cache.entry("kind", "key", writing("whole")).value();
  EXPECT_FALSE(std::filesystem::exists(entry + "/rest"));
  EXPECT_EQ(contents_of(entry + "/f"), "whole");
}

TEST(DataCache, LetsOneFillWhileTheOthersWait) {
  const TemporaryFolder folder;
  std::atomic<int> fills = 0, good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      auto cache = cache_in(folder);
      const auto entry = cache.entry("kind", "key", [&](const std::string &path) {
        ++fills;
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        return writing("whole")(path);
      });
      good += entry && contents_of(*entry + "/f") == "whole";
    });
  }
  for (std::thread &thread : threads) thread.join();
  EXPECT_EQ(fills, 1);
  EXPECT_EQ(good, 8);
}

TEST(DataCache, StopsWaitingWhenCancelled) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() + "/locks");
  const auto lock = FileLock::take(folder.path() + "/locks/kind-key", nullptr).value();
  const std::atomic<bool> cancelled = true;
  const auto entry = cache_in(folder, &cancelled).entry("kind", "key", writing("x"));
  ASSERT_FALSE(entry);
  EXPECT_EQ(entry.error().kind, ErrorKind::kStopped);
}

TEST(DataCache, IsWhereTheEnvironmentSays) {
  ::unsetenv("TRAINHOST_CACHE");
  EXPECT_EQ(DataCache::default_folder("/a/runs/one"), "/a/runs/.cache");
  ::setenv("TRAINHOST_CACHE", "/elsewhere", 1);
  EXPECT_EQ(DataCache::default_folder("/a/runs/one"), "/elsewhere");
  ::unsetenv("TRAINHOST_CACHE");
}

// Sets the file's time of change to one long past, plus that many nanoseconds.
void age(const std::string &path, long nanoseconds) {
  const timespec time{1'700'000'000, nanoseconds};
  const timespec times[] = {time, time};
  ::utimensat(AT_FDCWD, path.c_str(), times, 0);
}

TEST(FileHashes, RemembersFilesThatDidNotChange) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a file", "one"), index = folder.path() + "/index";
  age(path, 1);
  {
    FileHashes hashes(index, posix_file_system());
    EXPECT_EQ(hashes.sha256(path).value(), sha256("one"));
    ASSERT_TRUE(hashes.save());
  }
  // The same size and time: only the index can tell, which shows that it is used.
  folder.write("a file", "two");
  age(path, 1);
  EXPECT_EQ(FileHashes(index, posix_file_system()).sha256(path).value(), sha256("one"));
  age(path, 2);
  EXPECT_EQ(FileHashes(index, posix_file_system()).sha256(path).value(), sha256("two"));
}

TEST(FileHashes, DoesNotTrustFilesThatChangedJustNow) {
  const TemporaryFolder folder;
  const std::string path = folder.write("f", "one"), index = folder.path() + "/index";
  FileHashes hashes(index, posix_file_system());
  EXPECT_EQ(hashes.sha256(path).value(), sha256("one"));
  ASSERT_TRUE(hashes.save());
  EXPECT_FALSE(std::filesystem::exists(index));
}

TEST(FileHashes, NoticesAChangeDuringThePreparation) {
  const TemporaryFolder folder;
  const std::string path = folder.write("f", "one");
  FileHashes hashes(folder.path() + "/index", posix_file_system());
  ASSERT_TRUE(hashes.sha256(path));
  EXPECT_TRUE(hashes.check_unchanged(path));
  folder.write("f", "longer");
  EXPECT_EQ(hashes.check_unchanged(path).error().message,
            path + ": was changed while it was being prepared; start again when it is complete");
}

TEST(FileHashes, SurvivesADamagedIndex) {
  const TemporaryFolder folder;
  const std::string path = folder.write("f", "one"), index = folder.write("index", "nonsense\n\n12 x\n");
  EXPECT_EQ(FileHashes(index, posix_file_system()).sha256(path).value(), sha256("one"));
}

}  // namespace
}  // namespace trainhost
