// The fused attention of LibTorch, on CUDA only: cuDNN's where each sequence is one document, else FlashAttention on packed documents,
// which is the one with a deterministic backward. Both take and give bfloat16.
#pragma once

#include "tensors/attention_inputs.h"

namespace trainhost::minicpm {

enum class FusedKernel { kCudnn, kFlash };

// What a kernel gives and keeps for its backward.
struct FusedAttention {
  FusedKernel kernel;
  at::Tensor output;  // [R, H, D]
  at::Tensor log_sum_exp, seed, offset;
};

// Whether a kernel exists for heads of D = head_dimension on this device.
bool has_fused_attention(at::Device device, at::ScalarType dtype, int64_t head_dimension);
// The faster kernel that can do the batch and that the process's settings allow (deterministic algorithms, cuDNN attention on or off).
FusedKernel choose_fused_kernel(const TensorBatch &batch, int64_t head_dimension);

FusedAttention fused_attention(const TensorBatch &batch, const AttentionInputs &inputs, double scale, FusedKernel kernel);
// Fills `gradients`, of q, k and v, from what forward gave and the gradient of its output, [R, H, D].
void fused_attention_backward(const TensorBatch &batch, const AttentionInputs &inputs, double scale, const FusedAttention &forward,
                              const at::Tensor &output_gradient, const AttentionInputs &gradients);

}  // namespace trainhost::minicpm
