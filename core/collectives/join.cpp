#include "collectives/join.h"

#include <csignal>

#include "collectives/c10d_module.h"
#include "device/cuda_module.h"
#include "trainhost/tensor.h"

namespace trainhost {

Result<std::unique_ptr<ProcessGroup>> join(const LaunchEnvironment &launch, const ControlSettings &settings, ControlChannel &channel) {
  if (launch.world_size == 1) return single_process();
  std::signal(SIGPIPE, SIG_IGN);  // gloo writes to connections whose other end may have died
  TRAINHOST_TRY(const C10dModule *module, c10d_module());
  return module->join(launch, settings, channel);
}

Result<std::unique_ptr<ProcessGroup>> join_on_device(Device &device, std::unique_ptr<ProcessGroup> host, const ControlSettings &settings,
                                                     ControlChannel &channel) {
  if (device.type() == TH_DEVICE_CPU) return host;
  TRAINHOST_TRY(const CudaModule *const module, cuda_module());
  return module->join(device, std::move(host), settings, channel, "gpus");
}

}  // namespace trainhost
