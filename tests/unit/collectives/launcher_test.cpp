// The launcher with small shell and Python programs as ranks.
#include "collectives/launcher.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collectives/launch_environment.h"
#include "support/temporary_directory.h"

namespace trainhost {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string read_text(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool soon(const std::function<bool()> &condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

struct Ended {
  int code = 0;                  // what the launcher's process ends with
  std::string message;           // of the error
  std::string output, errors;    // what came on stdout and stderr
  double processor_seconds = 0;  // of the launcher and its ranks
};

// A process that runs the launcher, in a directory of its own.
class LauncherTest : public testing::Test {
 protected:
  LauncherTest() { settings_.restarts = 0; }

  std::string path(const std::string &name) const { return directory_ / name; }
  std::string text(const std::string &name) const { return read_text(path(name)); }

  void start(uint32_t processes, const std::string &script, const std::string &program = "/bin/sh") {
    settings_.processes = processes;
    settings_.command = {program, "-c", script};
    launcher_ = fork();
    if (launcher_ != 0) return;
    if (chdir(directory_.path().c_str()) != 0 || std::freopen("output", "w", stdout) == nullptr ||
        std::freopen("errors", "w", stderr) == nullptr) {
      _exit(1);
    }
    setvbuf(stderr, nullptr, _IONBF, 0);
    const auto outcome = launch(settings_);
    if (!outcome) std::ofstream("message") << outcome.error().message;
    _exit(outcome ? 0 : exit_code(outcome.error().kind));
  }

  Ended wait() {
    int status = 0;
    rusage usage{};
    wait4(launcher_, &status, 0, &usage);
    const double seconds = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), text("message"), text("output"), text("errors"), seconds};
  }

  Ended run(uint32_t processes, const std::string &script, const std::string &program = "/bin/sh") {
    start(processes, script, program);
    return wait();
  }

  bool exists(const std::string &name) const { return std::filesystem::exists(path(name)); }

  const TemporaryDirectory directory_;
  LauncherSettings settings_;
  pid_t launcher_ = 0;
};

std::map<std::string, std::string> parse_environment(const std::string &text) {
  std::map<std::string, std::string> variables;
  for (size_t begin = 0, end; (end = text.find('\0', begin)) != std::string::npos; begin = end + 1) {
    const std::string entry = text.substr(begin, end - begin);
    variables[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  }
  return variables;
}

TEST_F(LauncherTest, RanksFindTheirPlaceInTheEnvironment) {
  setenv("RANK", "77", 1);
  setenv("TRAINHOST_INTERFACE", "no such", 1);
  unsetenv("OMP_NUM_THREADS");
  const Ended ended = run(3, "env -0 > env.$TRAINHOST_RANK");
  unsetenv("RANK");
  unsetenv("TRAINHOST_INTERFACE");
  ASSERT_EQ(ended.code, 0) << ended.message;
  std::set<std::string> tokens;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    auto variables = parse_environment(text(fmt::format("env.{}", rank)));
    const auto launch =
        detect_launch([&](const std::string &name) { return variables.contains(name) ? std::optional(variables[name]) : std::nullopt; });
    ASSERT_TRUE(launch) << launch.error().message;
    EXPECT_EQ(launch->launcher, Launcher::kTrainhost);
    EXPECT_EQ(launch->rank, rank);
    EXPECT_EQ(launch->local_rank, rank);
    EXPECT_EQ(launch->world_size, 3u);
    EXPECT_EQ(launch->local_world_size, 3u);
    EXPECT_EQ(launch->listener.has_value(), rank == 0);
    tokens.insert(launch->token);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    EXPECT_EQ(variables["OMP_NUM_THREADS"], std::to_string(std::max(cores / 3, 1L)));
  }
  EXPECT_EQ(tokens.size(), 1u);
  EXPECT_THAT(*tokens.begin(), testing::MatchesRegex("[0-9a-f]{64}"));
}

TEST_F(LauncherTest, LeavesTheNumberOfThreadsThatTheUserChose) {
  setenv("OMP_NUM_THREADS", "5", 1);
  EXPECT_EQ(run(2, "echo $OMP_NUM_THREADS").output, "5\n");
  unsetenv("OMP_NUM_THREADS");
}

TEST_F(LauncherTest, Rank0InheritsTheSocketOnWhichTheOthersReachIt) {
  const Ended ended = run(3, R"(
import os, socket
here = ("127.0.0.1", int(os.environ["TRAINHOST_MASTER_PORT"]))
if os.environ["TRAINHOST_RANK"] == "0":
    listener = socket.socket(fileno=int(os.environ["TRAINHOST_LISTENER"]))
    assert listener.getsockname() == here
    print(sorted(listener.accept()[0].recv(1).decode() for _ in range(2)))
else:
    connection = socket.create_connection(here)
    connection.send(os.environ["TRAINHOST_RANK"].encode())
    connection.recv(1)
)",
                          "/usr/bin/python3");
  EXPECT_EQ(ended.code, 0) << ended.errors;
  EXPECT_EQ(ended.output, "['1', '2']\n");
}

TEST_F(LauncherTest, NobodyCanConnectOnceRank0IsGone) {
  const Ended ended = run(2, R"(
import os, socket, time
if os.environ["TRAINHOST_RANK"] == "1":
    time.sleep(0.5)
    try:
        socket.create_connection(("127.0.0.1", int(os.environ["TRAINHOST_MASTER_PORT"])))
        print("connected")
    except ConnectionRefusedError:
        print("refused")
)",
                          "/usr/bin/python3");
  EXPECT_EQ(ended.errors, "[rank 1] refused\n");
}

TEST_F(LauncherTest, Rank0HasTheOutputAndTheOthersLinesArePrefixed) {
  const Ended ended = run(2, "echo out; echo err >&2; printf 'no newline'");
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.output, "out\nno newline");
  std::vector<std::string> of_rank_0, of_rank_1;  // whose lines come in any order between each other
  std::istringstream all(ended.errors);
  for (std::string line; std::getline(all, line);) (line.starts_with("[rank 1] ") ? of_rank_1 : of_rank_0).push_back(line);
  EXPECT_THAT(of_rank_0, testing::Contains("err"));
  EXPECT_EQ(of_rank_1, (std::vector<std::string>{"[rank 1] out", "[rank 1] err", "[rank 1] no newline"}));
}

TEST_F(LauncherTest, LinesOfManyRanksNeverMix) {
  const Ended ended = run(4, R"([ $TRAINHOST_RANK = 0 ] || for i in $(seq 500); do printf 'a%d ' $i; printf 'b%d\n' $i; done)");
  std::map<std::string, int> lines;
  std::istringstream all(ended.errors);
  for (std::string line; std::getline(all, line);) {
    const std::string rank = line.substr(0, 9);
    const int number = ++lines[rank];
    EXPECT_EQ(line, fmt::format("{}a{} b{}", rank, number, number));
  }
  EXPECT_EQ(lines, (std::map<std::string, int>{{"[rank 1] ", 500}, {"[rank 2] ", 500}, {"[rank 3] ", 500}}));
}

TEST_F(LauncherTest, AnEndlessLineIsPassedOnInPieces) {
  const Ended ended = run(2, "[ $TRAINHOST_RANK = 0 ] || head -c 300000 /dev/zero | tr '\\0' x");
  EXPECT_EQ(std::ranges::count(ended.errors, 'x'), 300000);
  EXPECT_GE(std::ranges::count(ended.errors, '\n'), 2);
}

TEST_F(LauncherTest, OutputOfTheOtherRanksGoesToFilesWhereThatIsWanted) {
  settings_.log_folder = path("run/log");
  settings_.restarts = 1;
  const Ended ended = run(2, "echo start $TRAINHOST_RESTART_COUNT; exit 69");
  EXPECT_EQ(ended.output, "start 0\nstart 1\n");
  EXPECT_EQ(text("run/log/rank-1.log"), "start 0\nstart 1\n");
  EXPECT_FALSE(exists("run/log/rank-0.log"));
  EXPECT_THAT(ended.errors, testing::Not(HasSubstr("[rank")));
}

TEST_F(LauncherTest, SaysWhenTheLogFolderCannotBeMade) {
  std::ofstream(path("file")) << "x";
  settings_.log_folder = path("file");
  const Ended ended = run(2, "true");
  EXPECT_EQ(ended.code, 64);
  EXPECT_EQ(ended.message, "--rank-logs: " + path("file") + " cannot be made: Not a directory");
}

TEST_F(LauncherTest, SaysWhenTheProgramCannotBeStarted) {
  const Ended ended = run(2, "", "/nonexistent/program");
  EXPECT_EQ(ended.code, 64);
  EXPECT_THAT(ended.errors, HasSubstr("/nonexistent/program cannot be started: No such file or directory\n"));
}

TEST_F(LauncherTest, PermanentErrorsAreNotTriedAgain) {
  settings_.restarts = 3;
  for (const int code : {64, 65, 70, 71, 73, 76, 78}) {
    std::filesystem::remove(path("starts"));
    const Ended ended = run(2, fmt::format("[ $TRAINHOST_RANK = 0 ] && exit 0; echo >> starts; exit {}", code));
    EXPECT_EQ(ended.code, code);
    EXPECT_EQ(text("starts"), "\n");
    EXPECT_THAT(ended.message, testing::MatchesRegex(fmt::format(
                                   "rank 1 \\(process [0-9]+\\) ended with exit code {}, which another start would not change", code)));
  }
}

TEST_F(LauncherTest, AStopIsNoFailure) {
  settings_.restarts = 3;
  const Ended ended = run(3, "echo >> starts; [ $TRAINHOST_RANK = 1 ] && exit 0; exit 75");
  EXPECT_EQ(ended.code, 75);
  EXPECT_EQ(text("starts"), "\n\n\n");
}

TEST_F(LauncherTest, StartsAllRanksAgainWhenOneIsKilled) {
  settings_.restarts = 3;
  const Ended ended = run(2, R"(
echo "$TRAINHOST_RANK $TRAINHOST_RESTART_COUNT" >> starts
[ $TRAINHOST_RANK = 0 ] && echo $TRAINHOST_TOKEN >> tokens
[ $TRAINHOST_RESTART_COUNT = 2 ] && exit 0
[ $TRAINHOST_RANK = 1 ] && kill -KILL $$
sleep 0.3
exit 69)");
  EXPECT_EQ(ended.code, 0) << ended.message;
  std::multiset<std::string> starts;
  std::ifstream file(path("starts"));
  for (std::string line; std::getline(file, line);) starts.insert(line);
  EXPECT_THAT(starts, testing::UnorderedElementsAre("0 0", "1 0", "0 1", "1 1", "0 2", "1 2"));
  std::ifstream token_file(path("tokens"));
  std::set<std::string> tokens;
  for (std::string line; std::getline(token_file, line);) tokens.insert(line);
  EXPECT_EQ(tokens.size(), 3u) << "each start has a new one";
  EXPECT_THAT(ended.errors,
              testing::ContainsRegex("warning: rank 1 \\(process [0-9]+\\) was killed by signal 9 \\(Killed\\), as the kernel does "
                                     "when memory runs out; all ranks start again \\(restart 1 of 3\\)"));
  EXPECT_THAT(ended.errors, HasSubstr("(restart 2 of 3)"));
}

TEST_F(LauncherTest, GivesUpWhenTheRestartsAreUsedUp) {
  settings_.restarts = 2;
  for (const std::string end : {"exit 69", "exit 1", "kill -SEGV $$"}) {
    std::filesystem::remove(path("starts"));
    const Ended ended = run(1, "echo >> starts; " + end);
    EXPECT_EQ(ended.code, 69) << end;
    EXPECT_EQ(text("starts"), "\n\n\n") << end;
    EXPECT_THAT(ended.message, EndsWith("; the 2 restarts are used up")) << end;
  }
}

TEST_F(LauncherTest, BlamesTheRankThatFailedAndNotThoseThatNoticed) {
  const Ended ended = run(3, "[ $TRAINHOST_RANK = 0 ] && exit 69; [ $TRAINHOST_RANK = 2 ] && exit 75; sleep 0.3; exit 65");
  EXPECT_EQ(ended.code, 65);
  EXPECT_THAT(ended.message, StartsWith("rank 1 "));
}

TEST_F(LauncherTest, RanksThatNoticeNothingAreToldAndThenKilled) {
  settings_.notice = 300ms;
  settings_.ending = 300ms;
  const auto before = std::chrono::steady_clock::now();
  const Ended ended = run(3, R"(
case $TRAINHOST_RANK in
0) trap 'echo told > told' TERM; for i in $(seq 100); do sleep 0.1; done;;
1) while ! [ -e ready ]; do sleep 0.01; done; exit 69;;
2) trap 'exit 3' TERM; sleep 0.2; touch ready; for i in $(seq 100); do sleep 0.1; done;;
esac)");
  EXPECT_EQ(ended.code, 69);
  EXPECT_THAT(ended.message, StartsWith("rank 1 "));
  EXPECT_EQ(text("told"), "told\n");
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
}

TEST_F(LauncherTest, SignalsToStopReachEveryRankOnce) {
  settings_.restarts = 3;
  const std::map<int, std::string> signals{{SIGTERM, "TERM"}, {SIGINT, "INT"}, {SIGHUP, "HUP"}, {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}};
  for (const auto &[number, name] : signals) {
    for (const char *file : {"got.0", "got.1", "ready.0", "ready.1"}) std::filesystem::remove(path(file));
    start(2, fmt::format("trap 'echo {0} >> got.$TRAINHOST_RANK; exit 75' {0}; touch ready.$TRAINHOST_RANK; "
                         "for i in $(seq 1000); do sleep 0.01; done",
                         name));
    ASSERT_TRUE(soon([&] { return exists("ready.0") && exists("ready.1"); }));
    kill(launcher_, number);
    const Ended ended = wait();
    EXPECT_EQ(ended.code, 75) << name << ended.message;
    EXPECT_EQ(text("got.0") + text("got.1"), name + "\n" + name + "\n");
  }
}

TEST_F(LauncherTest, ARankThatDiesWhileTheRunIsBeingStoppedIsNotStartedAgain) {
  settings_.restarts = 3;
  start(2, "trap 'exit 69' TERM; echo >> starts.$TRAINHOST_RANK; for i in $(seq 1000); do sleep 0.01; done");
  ASSERT_TRUE(soon([&] { return exists("starts.0") && exists("starts.1"); }));
  kill(launcher_, SIGTERM);
  const Ended ended = wait();
  EXPECT_EQ(ended.code, 69);
  EXPECT_THAT(ended.message, EndsWith(" while the run was being stopped"));
  EXPECT_EQ(text("starts.0"), "\n");
}

TEST_F(LauncherTest, ASignalThatComesBeforeTheRanksHandleItStopsThem) {
  start(2, "touch ready.$TRAINHOST_RANK; exec sleep 20");
  ASSERT_TRUE(soon([&] { return exists("ready.0") && exists("ready.1"); }));
  kill(launcher_, SIGTERM);
  EXPECT_EQ(wait().code, 75);
}

TEST_F(LauncherTest, ASecondSignalEndsEvenRanksThatHang) {
  settings_.ending = 300ms;
  start(2, "trap '' TERM; touch ready.$TRAINHOST_RANK; exec sleep 20");
  ASSERT_TRUE(soon([&] { return exists("ready.0") && exists("ready.1"); }));
  const auto before = std::chrono::steady_clock::now();
  kill(launcher_, SIGTERM);
  std::this_thread::sleep_for(1100ms);
  kill(launcher_, SIGTERM);
  const Ended ended = wait();
  EXPECT_EQ(ended.code, 69);
  EXPECT_EQ(ended.message, "the ranks did not end when they were told to, and were killed while the run was being stopped");
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
  EXPECT_LT(ended.processor_seconds, 0.5) << "the launcher waits without working";
}

TEST_F(LauncherTest, RanksAreLeadersOfTheirProcessGroups) {
  const Ended ended = run(2, "[ $(cut -d ' ' -f 5 /proc/$$/stat) = $$ ] && echo leader");
  EXPECT_EQ(ended.output + ended.errors, "leader\n[rank 1] leader\n");
}

TEST_F(LauncherTest, NoRankOutlivesALauncherThatIsKilled) {
  start(3, "trap '' TERM HUP; echo $$ > pid.$TRAINHOST_RANK.new; mv pid.$TRAINHOST_RANK.new pid.$TRAINHOST_RANK; exec sleep 60");
  ASSERT_TRUE(soon([&] { return exists("pid.0") && exists("pid.1") && exists("pid.2"); }));
  kill(launcher_, SIGKILL);
  EXPECT_EQ(wait().code, -SIGKILL);
  for (const std::string name : {"pid.0", "pid.1", "pid.2"}) {
    const pid_t rank = std::stoi(text(name));
    EXPECT_TRUE(soon([&] {  // gone, or a zombie that nobody has waited for
      const std::string status = read_text(fmt::format("/proc/{}/status", rank));
      return status.empty() || status.find("State:\tZ") != std::string::npos;
    })) << name;
  }
}

}  // namespace
}  // namespace trainhost
