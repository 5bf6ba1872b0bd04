#include "libtorch/tensor.h"

#include <ATen/Context.h>
#include <ATen/ops/from_blob.h>

namespace trainhost::libtorch {
namespace {

// LibTorch takes the stream of somebody else by its address (c10::cuda::getStreamFromExternal, whose header needs the toolkit).
c10::Stream stream_of(at::Device device, void *stream) {
  return c10::Stream(c10::Stream::UNSAFE, device, static_cast<c10::StreamId>(reinterpret_cast<intptr_t>(stream)));
}

}  // namespace

at::Device device_of(int32_t type, int32_t index) {
  return type == TH_DEVICE_CUDA ? at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index)) : at::Device(at::kCPU);
}

void check_device(at::Device device) {
  if (device.is_cpu()) return;
  if (!at::hasCUDA()) throw sdk::Failure(TH_UNSUPPORTED, "LibTorch finds no GPU in this process; set device = \"cpu\"");
  const auto count = static_cast<int64_t>(at::getNumGPUs());
  if (device.index() >= 0 && device.index() < count) return;
  throw sdk::Failure(TH_UNSUPPORTED, "CUDA device " + std::to_string(device.index()) + " was asked for, but LibTorch finds " +
                                         std::to_string(count) + " in this process, counted from 0");
}

at::ScalarType dtype_of(uint8_t code, uint8_t bits) {
  if (code == TH_DTYPE_FLOAT && bits == 32) return at::kFloat;
  if (code == TH_DTYPE_BFLOAT && bits == 16) return at::kBFloat16;
  if (code == TH_DTYPE_INT && bits == 32) return at::kInt;
  throw sdk::Failure(TH_UNSUPPORTED, "a tensor has dtype code " + std::to_string(code) + " with " + std::to_string(bits) +
                                         " bits; expected float32, bfloat16 or int32");
}

at::Tensor wrap(const th_tensor &tensor) { return wrap(tensor, at::IntArrayRef(tensor.shape, static_cast<size_t>(tensor.rank))); }

at::Tensor wrap(const th_tensor &tensor, at::IntArrayRef shape) {
  const at::Device device = device_of(tensor);
  const auto options = at::TensorOptions().dtype(dtype_of(tensor.dtype_code, tensor.dtype_bits)).device(device);
  void *const data = static_cast<char *>(tensor.data) + tensor.byte_offset;
  return at::for_blob(data, shape).options(options).target_device(device).make_tensor();
}

std::string first_line_of(const c10::Error &error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

OperatorScope::OperatorScope(at::Device device, void *stream) {
  if (!device.is_cpu()) stream_.emplace(stream_of(device, stream));
}

}  // namespace trainhost::libtorch
