// One of NVIDIA's GPUs, through LibTorch.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "device/device.h"

namespace trainhost {

// Sets what LibTorch has one of in a process: whether operators are deterministic, cuDNN's attention first, cuBLAS's workspace; and makes
// the GPU the calling thread's. Memory comes from LibTorch's caching allocator, which plugins that use LibTorch share. All groups of the
// device end before it. kUnavailable: CUDA does not start.
Result<std::unique_ptr<Device>> open_gpu(int32_t index, bool deterministic);

}  // namespace trainhost
