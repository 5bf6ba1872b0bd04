// What the host finds in this library.
#include <cstdlib>

#include <c10/util/Logging.h>

#include "device/cuda/gpu_device.h"
#include "device/cuda/nccl_group.h"
#include "device/cuda_module.h"

namespace {

// c10d's watchdog is to end an operation that hangs, and to leave it to the host to say so and to end the process; whatever torchrun or the
// user's shell has set for Python programs.
void configure_watchdog() {
  ::setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "2", 1);  // abort the communicator, not the process
  ::setenv("TORCH_NCCL_RETHROW_CUDA_ERRORS", "0", 1);   // the device reports them
  ::setenv("TORCH_NCCL_ENABLE_MONITORING", "0", 1);     // nobody kills the process when the watchdog is late
  ::setenv("TORCH_NCCL_DUMP_ON_TIMEOUT", "0", 1);
  ::setenv("TORCH_NCCL_BLOCKING_WAIT", "0", 1);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const trainhost::CudaModule *trainhost_cuda_module() {
  // c10d logs what it throws, with stack traces, before the host can say it in one sentence.
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  configure_watchdog();
  static constexpr trainhost::CudaModule kModule{trainhost::open_gpu, trainhost::join_with_nccl};
  return &kModule;
}
