#include "collectives/launcher.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/program.h"
#include "base/stop_request.h"
#include "collectives/control/greeting.h"
#include "collectives/network.h"
#include "collectives/rank_process.h"
#include "device/thread_pool.h"

namespace trainhost {
namespace {

using Clock = std::chrono::steady_clock;

// While it lives, signals to stop and the ends of children come through a descriptor. A terminal's Ctrl-Z is held back: it would stop the
// launcher alone.
class Signals {
 public:
  Signals() {
    sigset_t all;
    sigemptyset(&all);
    for (const int signal : kStopSignals) sigaddset(&all, signal);
    sigaddset(&all, SIGCHLD);
    sigaddset(&all, SIGTSTP);
    sigprocmask(SIG_BLOCK, &all, &before_);
    descriptor_ = Descriptor(signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC));
  }
  ~Signals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals &) = delete;

  int descriptor() const { return descriptor_.number(); }

  // Those to stop that have come.
  std::vector<int> take() {
    std::vector<int> taken;
    signalfd_siginfo each;
    while (read(descriptor_.number(), &each, sizeof each) == sizeof each) {
      const int signal = static_cast<int>(each.ssi_signo);
      if (std::ranges::find(kStopSignals, signal) != std::end(kStopSignals)) taken.push_back(signal);
    }
    return taken;
  }

 private:
  sigset_t before_;
  Descriptor descriptor_;
};

struct Listener {
  Descriptor socket;
  uint16_t port = 0;
};

// The kernel chooses the port, and nobody can take it before rank 0 has it: rank 0 inherits the socket.
Result<Listener> listen_on_loopback() {
  Listener listener{.socket = Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))};
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  auto *const generic = reinterpret_cast<sockaddr *>(&address);
  const int number = listener.socket.number();
  if (number < 0 || bind(number, generic, size) != 0 || listen(number, SOMAXCONN) != 0 || getsockname(number, generic, &size) != 0) {
    return failure(ErrorKind::kUnavailable, fmt::format("no port on {} for the ranks to meet: {}", kLoopback, std::strerror(errno)));
  }
  listener.port = ntohs(address.sin_port);
  return listener;
}

// This process's environment with those variables set, of each the last.
std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>> &variables) {
  std::vector<std::string> environment;
  for (char **each = environ; *each != nullptr; ++each) {
    const std::string_view entry = *each;
    const std::string_view name = entry.substr(0, entry.find('='));
    if (std::ranges::none_of(variables, [&](const auto &variable) { return variable.first == name; })) environment.emplace_back(entry);
  }
  for (const auto &[name, value] : variables) environment.push_back(name + "=" + value);
  return environment;
}

// How bad the end of a rank is: the worst one is why the run ended.
enum class End { kDone, kStopped, kNoticed, kFailed };

End end_of(const RankProcess &rank, bool stop_requested) {
  if (WIFSIGNALED(rank.status())) {
    const bool by_request = std::ranges::find(kStopSignals, WTERMSIG(rank.status())) != std::end(kStopSignals);
    return stop_requested && by_request ? End::kStopped : End::kFailed;  // stopped: it had not come to handle signals yet
  }
  const int code = WEXITSTATUS(rank.status());
  if (code == 0) return End::kDone;
  if (code == exit_code(ErrorKind::kStopped)) return End::kStopped;
  return code == exit_code(ErrorKind::kUnavailable) ? End::kNoticed : End::kFailed;
}

struct Ending {
  End end = End::kDone;
  ErrorKind kind = ErrorKind::kUnavailable;
  std::string description;
  bool final = false;  // another start would end the same way
};

Ending ending_of(const RankProcess &rank, bool stop_requested) {
  Ending ending{.end = end_of(rank, stop_requested), .description = rank.describe_end()};
  if (ending.end != End::kFailed || !WIFEXITED(rank.status())) return ending;
  if (const auto kind = kind_of(WEXITSTATUS(rank.status()))) {
    ending.kind = *kind;
    ending.final = true;
  }
  return ending;
}

// The ranks from one start to their end.
class Ranks {
 public:
  Ranks(const LauncherSettings &settings, Signals &signals, StopRequest &request)
      : settings_(settings), signals_(signals), request_(request) {}
  ~Ranks() {
    for (const RankProcess &rank : ranks_) rank.kill();
    for (const RankProcess &rank : ranks_) {
      if (rank.running()) waitpid(rank.id(), nullptr, 0);
    }
  }
  Ranks(const Ranks &) = delete;

  Result<> start(uint32_t restart_count) {
    TRAINHOST_TRY(const Listener listener, listen_on_loopback());
    const std::string token = fresh_token();
    for (uint32_t rank = 0; rank < settings_.processes; ++rank) {
      RankStart start{.rank = rank, .command = settings_.command, .environment = {}, .log_file = {}, .own_output = rank == 0};
      if (rank == 0) start.listener = listener.socket.number();
      if (rank != 0 && !settings_.log_folder.empty()) start.log_file = fmt::format("{}/rank-{}.log", settings_.log_folder, rank);
      start.environment = environment(rank, restart_count, listener, token);
      TRAINHOST_TRY(RankProcess started, RankProcess::start(start));
      ranks_.push_back(std::move(started));
    }
    return {};
  }

  // Waits until all have ended.
  Ending run() {
    while (std::ranges::any_of(ranks_, &RankProcess::running)) {
      wait();
      for (const int signal : signals_.take()) pass_on(signal);
      for (RankProcess &rank : ranks_) {
        rank.pass_on_output();
        if (rank.reap()) take_in(rank);
      }
      if (deadline_ && Clock::now() >= *deadline_) press();
    }
    if (worst_) return *worst_;
    return {.end = End::kNoticed, .description = "the ranks did not end when they were told to, and were killed"};
  }

 private:
  std::vector<std::string> environment(uint32_t rank, uint32_t restart_count, const Listener &listener, const std::string &token) const {
    const std::string size = std::to_string(settings_.processes), number = std::to_string(rank);
    std::vector<std::pair<std::string, std::string>> variables{
        {"TRAINHOST_RANK", number},
        {"TRAINHOST_WORLD_SIZE", size},
        {"TRAINHOST_LOCAL_RANK", number},
        {"TRAINHOST_LOCAL_WORLD_SIZE", size},
        {"TRAINHOST_MASTER_ADDR", kLoopback},
        {"TRAINHOST_MASTER_PORT", std::to_string(listener.port)},
        {"TRAINHOST_LISTENER", rank == 0 ? std::to_string(listener.socket.number()) : ""},
        {"TRAINHOST_INTERFACE", ""},
        {"TRAINHOST_TOKEN", token},
        {"TRAINHOST_RESTART_COUNT", std::to_string(restart_count)}};
    if (std::getenv("OMP_NUM_THREADS") == nullptr) {
      variables.emplace_back("OMP_NUM_THREADS", std::to_string(std::max(static_cast<uint32_t>(core_count()) / settings_.processes, 1u)));
    }
    return environment_with(variables);
  }

  // Until a signal, output or the deadline.
  void wait() const {
    std::vector<pollfd> sources{{.fd = signals_.descriptor(), .events = POLLIN, .revents = 0}};
    for (const RankProcess &rank : ranks_) sources.push_back({.fd = rank.output(), .events = POLLIN, .revents = 0});  // -1 is left out
    int milliseconds = -1;
    if (deadline_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - Clock::now());
      milliseconds = static_cast<int>(std::max<int64_t>(left.count(), 0));
    }
    poll(sources.data(), sources.size(), milliseconds);
  }

  void pass_on(int signal) {
    for (const RankProcess &rank : ranks_) rank.signal(signal);
    if (!request_.insists(signal)) return;
    told_to_end_ = true;
    deadline_ = Clock::now() + settings_.ending;
  }

  void take_in(const RankProcess &rank) {
    if (pressed_) return;  // says nothing about why
    Ending ending = ending_of(rank, request_.requested());
    if (ending.end >= End::kNoticed && !deadline_) deadline_ = Clock::now() + settings_.notice;
    if (!worst_ || ending.end > worst_->end) worst_ = std::move(ending);
  }

  // The deadline has passed.
  void press() {
    const bool told = std::exchange(told_to_end_, true);
    for (const RankProcess &rank : ranks_) told ? rank.kill() : rank.signal(SIGTERM);
    deadline_ = told ? std::nullopt : std::optional(Clock::now() + settings_.ending);
    pressed_ = true;
  }

  const LauncherSettings &settings_;
  Signals &signals_;
  StopRequest &request_;
  std::vector<RankProcess> ranks_;
  std::optional<Ending> worst_;
  std::optional<Clock::time_point> deadline_;
  bool told_to_end_ = false;  // by a second signal, or because another rank has failed
  bool pressed_ = false;      // by a signal that was not passed on but came from here
};

}  // namespace

Result<> launch(const LauncherSettings &settings) {
  if (!settings.log_folder.empty()) {
    std::error_code problem;
    std::filesystem::create_directories(settings.log_folder, problem);
    if (problem) {
      return failure(ErrorKind::kUsage, fmt::format("--rank-logs: {} cannot be made: {}", settings.log_folder, problem.message()));
    }
  }
  Signals signals;
  StopRequest request;
  for (uint32_t restart = 0;; ++restart) {
    Ranks ranks(settings, signals, request);
    TRAINHOST_CHECK(ranks.start(restart));
    const Ending ending = ranks.run();
    if (ending.end == End::kDone) return {};
    if (ending.end == End::kStopped) return failure(ErrorKind::kStopped, "all ranks were stopped; the same command goes on");
    if (ending.final) return failure(ending.kind, ending.description + ", which another start would not change");
    if (request.requested()) return failure(ending.kind, ending.description + " while the run was being stopped");
    if (restart == settings.restarts) {
      return failure(ending.kind, fmt::format("{}; the {} restarts are used up", ending.description, settings.restarts));
    }
    log_warning(fmt::format("{}; all ranks start again (restart {} of {})", ending.description, restart + 1, settings.restarts));
  }
}

std::vector<std::string> own_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> command;
  for (std::string argument; std::getline(file, argument, '\0');) command.push_back(argument);
  command.front() = program_path();
  return command;
}

}  // namespace trainhost
