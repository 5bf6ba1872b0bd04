// RMSNorm over the rows of a matrix, in float32 whatever the dtype of the matrix.
#pragma once

#include <ATen/core/Tensor.h>

#include "configuration.h"

namespace trainhost::minicpm {

class TensorRmsNorm {
 public:
  explicit TensorRmsNorm(const Configuration &configuration) : width_(configuration.width), epsilon_(configuration.norm_epsilon) {}

  struct Output {
    at::Tensor y;            // [R, C], dtype of x
    at::Tensor inverse_rms;  // [R, 1] float32
  };
  Output forward(const at::Tensor &x, const at::Tensor &weight) const;

  // Temporaries of backward.
  size_t backward_bytes(int64_t rows) const { return 4 * sizeof(float) * static_cast<size_t>(rows * width_); }

  struct Gradients {
    at::Tensor dx;               // [R, C]; may be `skipped`
    at::Tensor weight_gradient;  // [C] float32
    bool add;                    // to weight_gradient, or overwrite it
  };
  // dx = skipped + gradient through the norm; skipped, the gradient that came by the residual path, may be undefined.
  void backward(const at::Tensor &dy, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &inverse_rms,
                const at::Tensor &skipped, const Gradients &gradients) const;

 private:
  int64_t width_;
  double epsilon_;
};

}  // namespace trainhost::minicpm
