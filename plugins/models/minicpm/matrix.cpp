#include "matrix.h"

#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

namespace trainhost::minicpm {
namespace {

at::Tensor view(const Matrix &matrix) {
  return at::from_blob(matrix.data, {matrix.rows, matrix.columns}, {matrix.row_stride, matrix.column_stride},
                       at::TensorOptions().dtype(at::kFloat));
}

}  // namespace

void multiply(const Matrix &a, const Matrix &b, const Matrix &out, float scale, bool add) {
  const c10::InferenceMode no_autograd;
  at::Tensor result = view(out);
  at::addmm_out(result, result, view(a), view(b), add ? 1 : 0, scale);
}

void multiply_add(const Matrix &addend, const Matrix &a, const Matrix &b, const Matrix &out, float scale) {
  const c10::InferenceMode no_autograd;
  at::Tensor result = view(out);
  at::addmm_out(result, view(addend), view(a), view(b), 1, scale);
}

int thread_count() { return at::get_num_threads(); }

}  // namespace trainhost::minicpm
