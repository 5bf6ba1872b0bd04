// A process group over NCCL.
#pragma once

#include <memory>

#include "base/status.h"
#include "collectives/control_channel.h"
#include "collectives/process_group.h"
#include "device/device.h"

namespace trainhost {

// As CudaModule::join says.
//
// Operations are enqueued: they begin when the device's stream has come to where they were called, and Pending::wait makes the stream wait
// for them, not the host, so it says nothing of what happens later. An operation that fails or runs into the timeout is ended on the GPU by
// c10d's watchdog; the group's next operation, its next wait or its next gather() is then kUnavailable and names the missing ranks.
// The first message from one rank to another waits on the host until the other receives it, because NCCL connects them then.
Result<std::unique_ptr<ProcessGroup>> join_with_nccl(Device &device, std::unique_ptr<ProcessGroup> host, const ControlSettings &settings,
                                                     ControlChannel &channel, const char *name);

}  // namespace trainhost
