#include "validate/child.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trainhost::validator {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kNotConcerned = "not concerned: ";
constexpr size_t kLongestNote = 256;

// Memory that the child shares with its parent.
char *note() {
  static auto *const memory = static_cast<char *>(::mmap(nullptr, kLongestNote, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  return memory;
}

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

[[noreturn]] void be_child(const std::function<Result<>()> &check, int report) {
  ::setpgid(0, 0);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const auto result = check();
  write_all(report, result ? "+" : "-" + result.error().message);
  ::_exit(0);
}

// What the child wrote until it ended; false when the limit came first.
bool read_report(int descriptor, Clock::time_point until, std::string &report) {
  std::array<char, 4096> piece;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd waiting{descriptor, POLLIN, 0};
    if (left <= 0 || ::poll(&waiting, 1, static_cast<int>(left)) <= 0) return false;
    const ssize_t count = ::read(descriptor, piece.data(), piece.size());
    if (count <= 0) return true;
    report.append(piece.data(), static_cast<size_t>(count));
  }
}

std::string while_doing() { return note()[0] == '\0' ? std::string() : fmt::format(" while doing: {}", note()); }

Outcome judge(const std::string &report, int status) {
  using Kind = Outcome::Kind;
  if (WIFSIGNALED(status)) {
    return {Kind::kFailed, fmt::format("the process was ended by SIG{} ({}){}", ::sigabbrev_np(WTERMSIG(status)),
                                       ::sigdescr_np(WTERMSIG(status)), while_doing())};
  }
  if (report.empty())
    return {Kind::kFailed, fmt::format("the plugin ended the process with exit status {}{}", WEXITSTATUS(status), while_doing())};
  if (report[0] == '+') return {};
  const std::string text = report.substr(1);
  if (text.starts_with(kNotConcerned)) return {Kind::kSkipped, text.substr(kNotConcerned.size())};
  return {Kind::kFailed, text};
}

}  // namespace

tl::unexpected<Error> not_concerned(std::string why) {
  return failure(ErrorKind::kUnavailable, std::string(kNotConcerned) + std::move(why));
}

void doing(std::string_view what) {
  const size_t length = std::min(what.size(), kLongestNote - 1);
  std::memcpy(note(), what.data(), length);
  note()[length] = '\0';
}

Outcome run_in_child(const std::function<Result<>()> &check, std::chrono::seconds limit) {
  const auto started = Clock::now();
  doing("");
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return {Outcome::Kind::kFailed, "there is no pipe to a child process"};
  const pid_t child = ::fork();
  if (child == 0) be_child(check, pipe[1]);
  ::close(pipe[1]);
  std::string report;
  const bool in_time = child > 0 && read_report(pipe[0], started + limit, report);
  ::close(pipe[0]);
  if (child < 0) return {Outcome::Kind::kFailed, "there is no child process"};
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  Outcome outcome =
      in_time ? judge(report, status) : Outcome{Outcome::Kind::kFailed, fmt::format("not done after {} s{}", limit.count(), while_doing())};
  outcome.seconds = std::chrono::duration<double>(Clock::now() - started).count();
  return outcome;
}

}  // namespace trainhost::validator
