#include "app/plugin_watch.h"

#include <chrono>
#include <cstdlib>

#include "base/log.h"
#include "base/status.h"
#include "collectives/error_file.h"

namespace trainhost {
namespace {

[[noreturn]] void end_now(const Error &error) {
  write_error_file(error);
  log_error(error.message);
  std::_Exit(exit_code(error.kind));
}

}  // namespace

PluginDeadline watch_plugins(const Recipe::Parallel &parallel) {
  return PluginDeadline(std::chrono::duration<double>(parallel.timeout), end_now);
}

}  // namespace trainhost
