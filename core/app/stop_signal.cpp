#include "app/stop_signal.h"

#include <csignal>

#include <unistd.h>

#include "base/status.h"
#include "base/stop_request.h"

namespace trainhost {
namespace {

StopRequest request;

void on_signal(int signal) {
  if (request.insists(signal)) _exit(exit_code(ErrorKind::kStopped));
}

void handle(int signal) {
  struct sigaction action {};
  sigaction(signal, nullptr, &action);
  if (action.sa_handler == SIG_IGN) return;  // as nohup does with SIGHUP
  action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

}  // namespace

const std::atomic<bool> &stop_signal() {
  for (const int signal : kStopSignals) handle(signal);
  return request.requested();
}

void request_stop() { request.request(); }

}  // namespace trainhost
