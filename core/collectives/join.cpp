#include "collectives/join.h"

#include <csignal>

#include "collectives/c10d_module.h"

namespace trainhost {

Result<std::unique_ptr<ProcessGroup>> join(const LaunchEnvironment &launch, const ControlSettings &settings, ControlChannel &channel) {
  if (launch.world_size == 1) return single_process();
  std::signal(SIGPIPE, SIG_IGN);  // gloo writes to connections whose other end may have died
  TRAINHOST_TRY(const C10dModule *module, c10d_module());
  return module->join(launch, settings, channel);
}

}  // namespace trainhost
