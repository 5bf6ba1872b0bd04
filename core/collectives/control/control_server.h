// Rank 0's side of the control channel.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "collectives/control_channel.h"
#include "collectives/launch_environment.h"

namespace trainhost {

// Admits ranks by their greeting, keeps the values that they set, hands on stops, and tells all when one is lost. Works on a thread of its
// own until it is destroyed; it then sends what is still to be sent, for two heartbeats at most.
class ControlServer {
 public:
  // Listens at `launch.interface` and `launch.master_port` (0: any free port), or on `launch.listener`. kUnavailable: the port is in use;
  // kUsage: the interface is no address of this machine.
  static Result<std::unique_ptr<ControlServer>> listen(const LaunchEnvironment &launch, const ControlSettings &settings);
  virtual ~ControlServer() = default;
  virtual uint16_t port() const = 0;
};

}  // namespace trainhost
