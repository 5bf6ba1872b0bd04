// SIGTERM and SIGINT ask the run to save and end.
#pragma once

#include <atomic>

namespace trainhost {

// Installs the handlers once and returns the flag that the first signal sets; a second signal ends the process at once. Main thread.
const std::atomic<bool> &stop_signal();

}  // namespace trainhost
