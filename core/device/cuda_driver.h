// What NVIDIA's driver says of its GPUs. It is loaded at run time: the program starts without it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace trainhost {

struct CudaDevice {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  uint64_t memory_bytes = 0;
  int capability_major = 0, capability_minor = 0;
};

struct CudaDriver {
  int version = 0;  // of CUDA, as 1000 major + 10 minor
  std::vector<CudaDevice> devices;
};

// At least one device; $CUDA_VISIBLE_DEVICES hides some. kUnavailable says why there is none. Any thread.
Result<CudaDriver> cuda_driver();

}  // namespace trainhost
