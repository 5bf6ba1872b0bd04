// What LibTorch's c10d does for the host: a shared library of its own, lib/libtrainhost_c10d.so, loaded when several processes train.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "collectives/control_channel.h"
#include "collectives/launch_environment.h"
#include "collectives/process_group.h"

namespace trainhost {

// The TCPStore that torchrun's agent hosts; this process is a client of it.
class AgentStore {
 public:
  virtual ~AgentStore() = default;
  virtual Result<> set(const std::string &key, const std::string &value) = 0;
  virtual Result<std::optional<std::string>> look(const std::string &key) = 0;  // the value if it is set by now
};

struct C10dModule {
  Result<std::unique_ptr<ProcessGroup>> (*join)(const LaunchEnvironment &launch, const ControlSettings &settings, ControlChannel &channel);
  // At launch.master_address and launch.master_port. kUnavailable: it cannot be reached within the timeout.
  Result<std::unique_ptr<AgentStore>> (*open_agent_store)(const LaunchEnvironment &launch, std::chrono::milliseconds timeout);
};

// Loads the library beside the program at the first call; it stays loaded. kInternal: it is not there or cannot be loaded. Any thread.
Result<const C10dModule *> c10d_module();

}  // namespace trainhost
