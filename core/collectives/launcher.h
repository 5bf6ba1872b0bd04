// `trainhost --processes N`: starts the ranks on this machine, keeps them together and starts them again when one fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace trainhost {

struct LauncherSettings {
  std::vector<std::string> command;  // the program, an absolute path, and its arguments; the same for every rank
  uint32_t processes = 1;
  uint32_t restarts = 3;                    // how often all ranks are started again after one has failed
  std::string log_folder;                   // rank-N.log of each rank but 0; empty: their lines go to stderr, each with the rank before it
  std::chrono::milliseconds notice{15000};  // for the others to end by themselves when a rank has failed; then they get SIGTERM,
  std::chrono::milliseconds ending{5000};   // and after this SIGKILL
};

// Runs the ranks to their end and returns why they ended as one Error: of all ranks the first that failed by itself, before one that only
// noticed it (exit code 69), before one that was stopped (75); success when all ended with 0. A rank that was killed, crashed or ended with
// 69 has all of them started again, with another port and token, until `restarts` are used up; any other failure, or one after a signal to
// stop, is final. Signals to stop are passed on to all ranks. The ranks never outlive the launcher, even when it is killed.
// Rank 0 has the launcher's output, no rank its input. Main thread, before the process has others.
Result<> launch(const LauncherSettings &settings);

// This program with the arguments that it was called with.
std::vector<std::string> own_command();

}  // namespace trainhost
