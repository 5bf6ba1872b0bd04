// A layer on tensors: the formulas are those of ../README.md.
#pragma once

#include <span>

#include "parameters.h"
#include "scratch.h"
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

  // As the operators allocate: what is live at once at the widest points.
  MemoryUse memory(int64_t rows, at::ScalarType dtype) const;

  // output [R, C] from input [R, C]; parameters in the order of BlockParameter.
  Saved forward(const TensorBatch &batch, std::span<const at::Tensor> parameters, const at::Tensor &input, at::Tensor output) const;
  struct Gradients {
    at::Tensor input;                        // [R, C], overwritten; may be output_gradient
    std::span<const at::Tensor> parameters;  // float32, in the order of BlockParameter
    const bool *add;                         // one each: added to, else overwritten

    void of_weight(BlockParameter which, const at::Tensor &d_output, const at::Tensor &of_input, double scale) const;
  };
  // Consumes what was saved.
  void backward(const TensorBatch &batch, std::span<const at::Tensor> parameters, const at::Tensor &input, Saved saved,
                const at::Tensor &output_gradient, const Gradients &gradients) const;

 private:
  void feed_forward_backward(std::span<const at::Tensor> parameters, const Saved &saved, const at::Tensor &output_gradient,
                             const Gradients &gradients) const;
  void attention_backward(const TensorBatch &batch, std::span<const at::Tensor> parameters, const at::Tensor &input, Saved saved,
                          const Gradients &gradients) const;

  TensorAttention attention_;
  TensorRmsNorm norm_;
  int64_t width_, heads_, kv_heads_, qkv_width_, feed_forward_;
  double residual_scale_;
};

}  // namespace trainhost::minicpm
