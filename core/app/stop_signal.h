// SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 ask the run to save and end.
#pragma once

#include <atomic>

namespace trainhost {

// Installs the handlers once and returns the flag that the first signal sets; a second one of SIGTERM, SIGINT and SIGHUP ends the process
// at once (see StopRequest). A signal that is ignored when the program starts stays ignored. Main thread.
const std::atomic<bool> &stop_signal();
// Sets the flag as a signal would, for one that another process got. Any thread.
void request_stop();

}  // namespace trainhost
