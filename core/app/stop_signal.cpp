#include "app/stop_signal.h"

#include <csignal>

#include <unistd.h>

#include "base/status.h"

namespace trainhost {
namespace {

std::atomic<bool> stop = false;

void on_signal(int) {
  if (stop.exchange(true)) _exit(exit_code(ErrorKind::kStopped));
}

}  // namespace

const std::atomic<bool> &stop_signal() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  return stop;
}

}  // namespace trainhost
