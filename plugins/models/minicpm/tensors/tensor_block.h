// A layer on tensors: the formulas are those of ../README.md.
#pragma once

#include <span>

#include "parameters.h"
#include "tensors/tensor_attention.h"
#include "tensors/tensor_rms_norm.h"

namespace trainhost::minicpm {

class TensorBlock {
 public:
  TensorBlock(const Configuration &configuration, at::Device device, at::ScalarType dtype);

  // What backward needs of forward: all else is computed again from it.
  struct Saved {
    at::Tensor qkv;  // with positions
    TensorAttention::Result attention;
    at::Tensor middle, gate_up;
  };

  // output [R, C] from input [R, C]; parameters in the order of BlockParameter.
  Saved forward(const TensorBatch &batch, std::span<const at::Tensor> parameters, const at::Tensor &input, at::Tensor output) const;
  // input_gradient [R, C] may be output_gradient. add[i]: parameter_gradients[i] is added to, else overwritten. Consumes what was saved.
  void backward(const TensorBatch &batch, std::span<const at::Tensor> parameters, const at::Tensor &input, Saved saved,
                const at::Tensor &output_gradient, const at::Tensor &input_gradient, std::span<const at::Tensor> parameter_gradients,
                const bool *add) const;

 private:
  TensorAttention attention_;
  TensorRmsNorm norm_;
  int64_t feed_forward_;
  double residual_scale_;
};

}  // namespace trainhost::minicpm
