// How this process was started: alone, by `trainhost --processes`, by torchrun, by Slurm, or with plain environment variables.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "collectives/network.h"

namespace trainhost {

enum class Launcher { kNone, kTrainhost, kTorchrun, kSlurm, kPlain };
std::string_view to_string(Launcher launcher);  // for people: "torchrun", "Slurm", ...

struct LaunchEnvironment {
  Launcher launcher = Launcher::kNone;
  uint32_t rank = 0, world_size = 1;
  uint32_t local_rank = 0, local_world_size = 1;  // on this machine
  std::string master_address = kLoopback;         // where rank 0 can be reached
  uint16_t master_port = 0;
  std::string interface = kLoopback;  // address of this machine that its sockets are bound to; loopback when all ranks are on one machine
  std::string token;                  // shared by the ranks of this run and by nobody else; never logged; empty: see agent_store
  // torchrun: its agent hosts a TCPStore at master_address:master_port, and rank 0 must not. Rank 0 shares its own address and, where
  // `token` is empty, a token of its own making through that store.
  bool agent_store = false;
  uint32_t restart_count = 0;   // how often the launcher has restarted the ranks
  std::optional<int> listener;  // a socket that is listening at master_port already, inherited from our own launcher (rank 0 only)
  std::string job;              // the launcher's name for the run: a Slurm job, torchrun's run id; empty: none
};

// Reads one environment variable; nothing when it is not set.
using EnvironmentReader = std::function<std::optional<std::string>(const std::string &name)>;
EnvironmentReader process_environment();

// Finds out who started this process; core/docs/launching.md says which variables show it. A variable that is set to nothing counts as not
// set. kUsage says which variable is missing, not a number, or contradicts another one, and what to do; kUnavailable: the master's name is
// not known, or there is no way to it.
Result<LaunchEnvironment> detect_launch(const EnvironmentReader &variable, const Network &network = network_of_this_machine());

}  // namespace trainhost
