#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_vector_norm.h>

#include "muon/memory.hpp"
#include "tensors/batches.h"
#include "tensors/updates.h"

namespace tensors {
namespace {

at::Tensor view(const Matrix &matrix, at::Device device) {
  return at::for_blob(matrix.data, {matrix.rows, matrix.columns})
      .strides({matrix.row_stride, matrix.column_stride})
      .options(at::TensorOptions(at::kFloat).device(device))
      .target_device(device)
      .make_tensor();
}

void multiply_add_on(at::Device device, const Matrix &addend, double beta, const Matrix &a, const Matrix &b, double alpha,
                     const Matrix &out) {
  at::Tensor result = view(out, device);
  at::addmm_out(result, view(addend, device), view(a, device), view(b, device), beta, alpha);
}

}  // namespace

void multiply_add(const Matrix &addend, double beta, const Matrix &a, const Matrix &b, double alpha, const Matrix &out) {
  const c10::InferenceMode no_autograd;
  multiply_add_on(at::kCPU, addend, beta, a, b, alpha, out);
}

void muon(const MuonSettings &settings, const th_update_call &call, const th_update &update) {
  const at::Device device = device_of(update.master);
  check_device(device);
  with_operators(device, call.stream, [&] {
    const int64_t rows = update.info->shape[0], columns = update.info->shape[1];
    const MuonMemory memory(call.workspace, rows, columns);
    const at::Tensor master = wrap(update.master), stored = wrap(update.states[0]), buffer = as_float32(stored);
    const at::Tensor gradient = wrap(update.gradient) * floats(call.gradient_scale, {}, device);
    at::Tensor x = floats(memory.iteration.x, {rows, columns}, device);
    buffer.mul_(settings.momentum).add_(gradient);
    x.copy_(gradient).add_(buffer, settings.momentum);
    store(stored, buffer, wrap(update.gradient), rounding_key(call.step, 0));
    x.div_(at::linalg_vector_norm(x).clamp_min_(kSmallestNorm));
    const float *const orthogonal =
        orthogonalise(memory.iteration, rows, columns, [&](const auto &...factors) { multiply_add_on(device, factors...); });
    master.mul_(1 - update.learning_rate * settings.weight_decay * update.weight_decay_multiplier);
    master.sub_(floats(orthogonal, {rows, columns}, device),
                update.learning_rate * settings.update_rms * std::sqrt(static_cast<double>(std::max(rows, columns))));
    if (update.compute_copy.data != nullptr) wrap(update.compute_copy).copy_(master);
  });
}

}  // namespace tensors
