// How a process becomes a member of the group of all ranks.
#pragma once

#include <memory>

#include "base/status.h"
#include "collectives/control_channel.h"
#include "collectives/launch_environment.h"
#include "collectives/process_group.h"
#include "device/device.h"

namespace trainhost {

// The group of all ranks, over gloo on sockets bound to `launch.interface`; a process that trains alone gets single_process(), and LibTorch
// is not loaded. All ranks call it, when the channel is connected; the channel outlives the group. kUnavailable names the ranks that did
// not join in time.
Result<std::unique_ptr<ProcessGroup>> join(const LaunchEnvironment &launch, const ControlSettings &settings, ControlChannel &channel);

// The group whose floats are on the device: for CPUs `host` itself, for a GPU one over NCCL that has `host` as its own. All ranks call it
// with groups of all ranks. The device and the channel outlive the group. Errors: kUnavailable as above, and when NCCL cannot connect.
Result<std::unique_ptr<ProcessGroup>> join_on_device(Device &device, std::unique_ptr<ProcessGroup> host, const ControlSettings &settings,
                                                     ControlChannel &channel);

}  // namespace trainhost
