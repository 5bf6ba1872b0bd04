// Ranks as processes, of which one is killed or stopped: the others end, name it, and have exit code 69.
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/launched_ranks.h"

namespace trainhost {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using testing::AnyOf;
using testing::HasSubstr;

// rank_under_test as a process; standard output and error come through one pipe.
class RankProcess {
 public:
  RankProcess(uint32_t rank, uint32_t world_size, uint16_t port, const std::string &activity) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    std::vector<std::string> words{TRAINHOST_BINARY_DIR "/tests/rank_under_test", std::to_string(rank), std::to_string(world_size),
                                   std::to_string(port), activity};
    std::vector<char *> arguments;
    for (std::string &word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&process_, arguments[0], &actions, nullptr, arguments.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    output_ = ends[0];
  }

  ~RankProcess() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    ::close(output_);
  }

  void signal(int number) const { ::kill(process_, number); }
  const std::string &text() const { return text_; }

  // Reads on until the output has `words`; false when it ends before, or after 30 s.
  bool says(const std::string &words) {
    const auto limit = Clock::now() + 30s;
    while (text_.find(words) == std::string::npos) {
      pollfd ready{output_, POLLIN, 0};
      if (Clock::now() > limit || (::poll(&ready, 1, 1000) > 0 && !read_more())) return false;
    }
    return true;
  }

  bool has_ended() {
    pollfd ready{output_, POLLIN, 0};
    while (::poll(&ready, 1, 0) > 0) {
      if (!read_more()) return true;
    }
    return false;
  }

  // The exit code; -1: another end, or none within 30 s.
  int wait() {
    says("\n no rank says this\n");
    int status = 0;
    for (int wait = 0; ::waitpid(process_, &status, WNOHANG) == 0; ++wait) {
      if (wait == 3000) return -1;
      ::usleep(10000);
    }
    if (!WIFEXITED(status)) return -1;
    process_ = -1;
    return WEXITSTATUS(status);
  }

 private:
  bool read_more() {
    char piece[4096];
    const ssize_t size = ::read(output_, piece, sizeof(piece));
    if (size > 0) text_.append(piece, static_cast<size_t>(size));
    return size > 0;
  }

  pid_t process_ = -1;
  int output_ = -1;
  std::string text_;
};

std::vector<std::unique_ptr<RankProcess>> start(uint32_t size, const std::string &activity) {
  const uint16_t port = test::free_port();
  std::vector<std::unique_ptr<RankProcess>> ranks;
  for (uint32_t rank = 0; rank < size; ++rank) ranks.push_back(std::make_unique<RankProcess>(rank, size, port, activity));
  for (const auto &rank : ranks) EXPECT_TRUE(rank->says("ready")) << rank->text();
  return ranks;
}

// A job that is stopped and goes on (Ctrl-Z, a debugger, a machine that sleeps) has lost nobody: all were silent, and nobody listened.
TEST(StoppedRanks, GoOnTogether) {
  const auto ranks = start(3, "gather");
  for (const auto &rank : ranks) rank->signal(SIGSTOP);
  std::this_thread::sleep_for(3s);  // six heartbeats
  for (const auto &rank : ranks) rank->signal(SIGCONT);
  std::this_thread::sleep_for(1500ms);
  for (const auto &rank : ranks) EXPECT_FALSE(rank->has_ended()) << rank->text();
}

struct Fault {
  const char *name;
  int signal;
  uint32_t rank;
  const char *activity;
};

class LostRank : public testing::TestWithParam<Fault> {};

TEST_P(LostRank, IsNamedByAllOthersWhichEnd) {
  const Fault &fault = GetParam();
  constexpr uint32_t kRanks = 3;
  const auto ranks = start(kRanks, fault.activity);
  if (HasFailure()) return;
  const auto begun = Clock::now();
  ranks[fault.rank]->signal(fault.signal);
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    if (rank == fault.rank) continue;
    EXPECT_EQ(ranks[rank]->wait(), 69) << ranks[rank]->text();
    EXPECT_THAT(ranks[rank]->text(), HasSubstr("rank " + std::to_string(fault.rank) + " (host "));
    EXPECT_THAT(ranks[rank]->text(), AnyOf(HasSubstr("ended without a goodbye"), HasSubstr("missed two heartbeats")));
  }
  RecordProperty("milliseconds", static_cast<int>((Clock::now() - begun) / 1ms));
  std::printf("noticed and ended after %d ms\n", static_cast<int>((Clock::now() - begun) / 1ms));
}

INSTANTIATE_TEST_SUITE_P(Faults, LostRank,
                         testing::Values(Fault{"KilledWhileIdle", SIGKILL, 2, "idle"}, Fault{"Rank0KilledWhileIdle", SIGKILL, 0, "idle"},
                                         Fault{"StoppedWhileIdle", SIGSTOP, 1, "idle"}, Fault{"Rank0StoppedWhileIdle", SIGSTOP, 0, "idle"},
                                         Fault{"KilledInACollective", SIGKILL, 1, "gather"},
                                         Fault{"Rank0KilledInACollective", SIGKILL, 0, "gather"},
                                         Fault{"StoppedInACollective", SIGSTOP, 2, "gather"}),
                         [](const auto &info) { return std::string(info.param.name); });

}  // namespace
}  // namespace trainhost
