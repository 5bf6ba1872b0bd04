// Tells a first request to stop from a second one, which means at once.
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>

#include <time.h>

namespace trainhost {

// The signals that ask to save and end. SIGUSR1 and SIGUSR2 are schedulers' warnings that a harder signal will follow.
inline constexpr int kStopSignals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

class StopRequest {
 public:
  // Takes a signal in; true when it is to be obeyed at once. That is the second of SIGTERM, SIGINT and SIGHUP, unless it comes within a
  // second of the first: then both are one request, sent to this process and passed on to it by its launcher. Safe in a signal handler.
  bool insists(int signal) {
    requested_ = true;
    if (signal == SIGUSR1 || signal == SIGUSR2) return false;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t nanoseconds = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
    int64_t first = 0;
    return !first_.compare_exchange_strong(first, nanoseconds) && nanoseconds - first > 1'000'000'000;
  }

  // The same for a stop that another process was asked for.
  void request() { requested_ = true; }

  const std::atomic<bool> &requested() const { return requested_; }

 private:
  std::atomic<bool> requested_ = false;
  std::atomic<int64_t> first_ = 0;  // when, on the monotonic clock; 0: not yet
};

}  // namespace trainhost
