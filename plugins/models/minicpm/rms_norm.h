// RMSNorm over the rows of a matrix, on the host's threads.
#pragma once

#include "configuration.h"
#include "kernels/kernels.h"

namespace trainhost::minicpm {

class RmsNorm {
 public:
  RmsNorm(const sdk::Host &host, const Configuration &configuration);

  // y [rows, C] and 1 / rms [rows] of x [rows, C].
  void forward(const float *x, const float *weight, int64_t rows, float *y, float *inverse_rms) const;
  // y again, from what forward kept.
  void again(const float *x, const float *weight, const float *inverse_rms, int64_t rows, float *y) const;

  struct Gradients {
    float *dx;               // [rows, C]; may be `skipped`
    float *weight_gradient;  // [C]
    bool add;                // to weight_gradient, or overwrite it
    float *parts;            // parts_size(rows) floats of scratch
  };
  // dx = skipped + gradient through the norm; skipped, the gradient that came by the residual path, may be null.
  void backward(const float *dy, const float *x, const float *weight, const float *inverse_rms, const float *skipped, int64_t rows,
                const Gradients &gradients) const;
  int64_t parts_size(int64_t rows) const;

 private:
  sdk::Host host_;
  const Kernels &kernels_;
  int64_t width_;
  float epsilon_;
};

}  // namespace trainhost::minicpm
