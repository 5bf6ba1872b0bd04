#include "gpu/gpu_under_test.h"

#include <stdexcept>

namespace trainhost {
namespace {

// Never closed: LibTorch's CUDA half does not outlive static objects well.
const Result<std::unique_ptr<Device>> &gpu() {
  static const auto *const device = new Result<std::unique_ptr<Device>>(open_cuda_device(0));
  return *device;
}

}  // namespace

std::string why_no_gpu() { return gpu() ? "" : "no GPU: " + gpu().error().message; }

Device &gpu_under_test() {
  if (!gpu()) throw std::runtime_error(why_no_gpu());
  return **gpu();
}

}  // namespace trainhost
