// Memory of the host as tensors of LibTorch. Nothing here names CUDA's own headers or libraries: operators are found by the tensors'
// device, so the same code runs on CPU tensors, where it is proved, and on CUDA tensors once the host has loaded LibTorch's CUDA library.
#pragma once

#include <optional>
#include <string>

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/util/Exception.h>

#include "trainhost/cpp/plugin.hpp"

namespace trainhost::libtorch {

at::Device device_of(int32_t type, int32_t index);
inline at::Device device_of(const th_tensor &tensor) { return device_of(tensor.device_type, tensor.device_index); }
// Throws Failure TH_UNSUPPORTED where LibTorch has no such device in this process.
void check_device(at::Device device);
// float32, bfloat16 or int32; throws Failure TH_UNSUPPORTED for another.
at::ScalarType dtype_of(uint8_t code, uint8_t bits);

// A contiguous tensor in the memory of `tensor`, of its shape or of `shape`.
at::Tensor wrap(const th_tensor &tensor);
at::Tensor wrap(const th_tensor &tensor, at::IntArrayRef shape);

// Without LibTorch's advice and stack trace.
std::string first_line_of(const c10::Error &error);

// While it lives, operators of this thread record no gradients and, on CUDA, are enqueued on `stream` (a cudaStream_t; null is the
// default stream) of `device`.
class OperatorScope {
 public:
  OperatorScope(at::Device device, void *stream);

 private:
  c10::InferenceMode no_autograd_;
  std::optional<c10::StreamGuard> stream_;
};

// Runs body with operators on the stream. What LibTorch throws becomes a Failure of one line: TH_OUT_OF_MEMORY where that is so.
template <class Body>
auto with_operators(at::Device device, void *stream, Body &&body) {
  try {
    const OperatorScope scope(device, stream);
    return body();
  } catch (const c10::OutOfMemoryError &error) {
    throw sdk::Failure(TH_OUT_OF_MEMORY, first_line_of(error));
  } catch (const c10::Error &error) {
    throw sdk::Failure(TH_INTERNAL, first_line_of(error));
  }
}

}  // namespace trainhost::libtorch
