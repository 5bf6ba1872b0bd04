// A rank's side of the control channel; rank 0 has one too.
#pragma once

#include <memory>
#include <string>

#include "collectives/control/control_server.h"
#include "collectives/control_channel.h"

namespace trainhost {

struct MasterPlace {
  std::string address;  // a name or a number
  uint16_t port = 0;
};

// Tries until the timeout; then waits for all ranks. `server`: rank 0's own, which the channel takes along.
Result<std::unique_ptr<ControlChannel>> connect_to_master(const LaunchEnvironment &launch, const ControlSettings &settings,
                                                          const MasterPlace &master, std::unique_ptr<ControlServer> server);

}  // namespace trainhost
