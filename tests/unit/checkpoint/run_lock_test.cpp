#include "checkpoint/run_lock.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temporary_directory.h"

namespace trainhost {
namespace {

using testing::MatchesRegex;

// What acquiring gives in another process: the message of the refusal, or "acquired".
std::string in_another_process(const std::string &run_directory) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = RunLock::acquire(run_directory);
    const std::string text = lock ? "acquired" : std::to_string(exit_code(lock.error().kind)) + " " + lock.error().message;
    (void)!::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  char text[1024];
  const ssize_t size = ::read(ends[0], text, sizeof text);
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return std::string(text, size > 0 ? static_cast<size_t>(size) : 0);
}

std::string host() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

TEST(RunLock, RefusesAnotherProcessAndNamesTheHolder) {
  TemporaryDirectory run;
  auto lock = RunLock::acquire(run.path());
  ASSERT_TRUE(lock) << lock.error().message;
  const std::string pattern = "69 run directory " + run.path() + " is in use by process " + std::to_string(::getpid()) + " on " + host() +
                              " since 20[0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9] UTC; wait for it, or stop it";
  EXPECT_THAT(in_another_process(run.path()), MatchesRegex(pattern));

  RunLock moved = *std::move(lock);
  EXPECT_THAT(in_another_process(run.path()), MatchesRegex(pattern));
}

TEST(RunLock, IsFreeOnceItsHolderIsGone) {
  TemporaryDirectory run;
  { const auto lock = RunLock::acquire(run.path()); }
  EXPECT_EQ(in_another_process(run.path()), "acquired");
  EXPECT_EQ(in_another_process(run.path()), "acquired");
  EXPECT_TRUE(RunLock::acquire(run.path()));
}

TEST(RunLock, SaysThatItIsHeldWhoeverWroteTheFile) {
  TemporaryDirectory run;
  const auto lock = RunLock::acquire(run.path());
  const std::string plain = "69 run directory " + run.path() + " is in use by another process; wait for it, or stop it";
  for (const char *contents : {"", "garbage", "12@", "-1@host 2026", "99999999999999@host 2026", "12@host"}) {
    std::ofstream(run / ".lock") << contents;
    EXPECT_EQ(in_another_process(run.path()), plain) << contents;
  }
}

TEST(RunLock, NamesWhatCannotBeLocked) {
  TemporaryDirectory run;
  EXPECT_EQ(RunLock::acquire(run / "absent").error().message, "run directory " + (run / "absent") + " cannot be locked: " +
                                                                  (run / "absent/.lock") + " cannot be opened: No such file or directory");
  std::filesystem::create_symlink("/etc/passwd", run / ".lock");
  EXPECT_EQ(RunLock::acquire(run.path()).error().kind, ErrorKind::kUnavailable);
}

}  // namespace
}  // namespace trainhost
