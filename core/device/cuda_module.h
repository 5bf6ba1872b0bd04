// What LibTorch's CUDA half does for the host: a shared library of its own, lib/libtrainhost_cuda.so, built where the CUDA toolkit is found
// and loaded when a recipe wants CUDA.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"

namespace trainhost {

class ControlChannel;
class Device;
class ProcessGroup;
struct ControlSettings;

struct CudaModule {
  // The device must be there. Creates its context, a stream and an allocator.
  Result<std::unique_ptr<Device>> (*open_device)(int32_t index, bool deterministic);
  // A group over NCCL whose floats are on the device, which this library opened. `host` is the same ranks' group for what is in the host's
  // memory and for splitting; it becomes the group's own. `name` is unique among the groups of the channel. A single rank is a group too.
  // The group ends before the device and the channel.
  Result<std::unique_ptr<ProcessGroup>> (*join)(Device &device, std::unique_ptr<ProcessGroup> host, const ControlSettings &settings,
                                                ControlChannel &channel, const char *name);
};

// Loads the library beside the program; it stays loaded. kRecipe: it is not there or cannot be loaded.
Result<const CudaModule *> cuda_module();

}  // namespace trainhost
