#include "collectives/rank_process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trainhost {
namespace {

constexpr size_t kPipeCapacity = 65536;  // so that one read takes all that is there
constexpr size_t kLongestLine = 65536;   // longer ones are passed on in pieces

struct Pipe {
  Descriptor read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return failure(ErrorKind::kUnavailable, fmt::format("no pipe to a rank: {}", std::strerror(errno)));
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

std::vector<char *> pointers(const std::vector<std::string> &texts) {
  std::vector<char *> out;
  for (const std::string &text : texts) out.push_back(const_cast<char *>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// In the child. `output`: what takes its place of stdout and stderr; -1: nothing does.
[[noreturn]] void become_rank(const RankStart &settings, int output, pid_t launcher) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launcher) _exit(exit_code(ErrorKind::kUnavailable));  // the launcher ended before the line above
  std::signal(SIGTTOU, SIG_IGN);                                         // a rank may write to a terminal without being in its foreground
  const int no_input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(no_input, STDIN_FILENO);
  if (output >= 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  if (settings.listener >= 0) fcntl(settings.listener, F_SETFD, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(settings.command.front().c_str(), pointers(settings.command).data(), pointers(settings.environment).data());
  fmt::print(stderr, "{} cannot be started: {}\n", settings.command.front(), std::strerror(errno));
  std::fflush(stderr);
  _exit(exit_code(ErrorKind::kUsage));
}

}  // namespace

Descriptor::Descriptor(Descriptor &&other) noexcept : number_(std::exchange(other.number_, -1)) {}

Descriptor &Descriptor::operator=(Descriptor &&other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

Descriptor::~Descriptor() {
  if (open()) close(number_);
}

Result<RankProcess> RankProcess::start(const RankStart &settings) {
  Descriptor read, write;
  if (!settings.log_file.empty()) {
    write = Descriptor(open(settings.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!write.open()) {
      return failure(ErrorKind::kUsage, fmt::format("--rank-logs: {} cannot be opened: {}", settings.log_file, std::strerror(errno)));
    }
  } else if (!settings.own_output) {
    TRAINHOST_TRY(Pipe pipe, make_pipe());
    read = std::move(pipe.read);
    write = std::move(pipe.write);
  }
  const pid_t launcher = getpid();
  const pid_t child = fork();
  if (child < 0) {
    return failure(ErrorKind::kUnavailable, fmt::format("rank {} cannot be started: {}", settings.rank, std::strerror(errno)));
  }
  if (child == 0) become_rank(settings, write.number(), launcher);
  setpgid(child, child);  // here too: whichever comes first
  return RankProcess(settings.rank, child, std::move(read));
}

void RankProcess::signal(int number) const {
  if (running_) ::kill(id_, number);
}

void RankProcess::kill() const {
  if (running_) ::kill(-id_, SIGKILL);
}

bool RankProcess::reap() {
  if (!running_ || waitpid(id_, &status_, WNOHANG) != id_) return false;
  running_ = false;
  pass_on_output();
  output_ = Descriptor();
  if (!line_.empty()) line_ += '\n';
  write_lines();
  return true;
}

void RankProcess::pass_on_output() {
  if (!output_.open()) return;
  std::vector<char> block(kPipeCapacity);
  const ssize_t size = read(output_.number(), block.data(), block.size());
  if (size == 0) output_ = Descriptor();
  if (size > 0) line_.append(block.data(), static_cast<size_t>(size));
  if (line_.size() > kLongestLine && line_.find('\n') == std::string::npos) line_ += '\n';
  write_lines();
}

// One write for each line, so that lines of several ranks never mix; on a terminal over rank 0's progress line.
void RankProcess::write_lines() {
  const char *const over = isatty(STDERR_FILENO) ? "\r\x1b[K" : "";
  size_t begin = 0;
  for (size_t end; (end = line_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string text = fmt::format("{}[rank {}] {}", over, rank_, std::string_view(line_).substr(begin, end + 1 - begin));
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
  line_.erase(0, begin);
}

std::string RankProcess::describe_end() const {
  if (WIFSIGNALED(status_)) {
    const int number = WTERMSIG(status_);
    return fmt::format("rank {} (process {}) was killed by signal {} ({}){}", rank_, id_, number, strsignal(number),
                       number == SIGKILL ? ", as the kernel does when memory runs out" : "");
  }
  return fmt::format("rank {} (process {}) ended with exit code {}", rank_, id_, WEXITSTATUS(status_));
}

}  // namespace trainhost
