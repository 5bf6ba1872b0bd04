// Causal grouped-query attention inside documents in plain operators: float32 whatever the dtype of its tensors, on any device, a tile of
// queries at a time. It is what the fused kernels are measured against, and what runs where they cannot.
#pragma once

#include "tensors/attention_inputs.h"

namespace trainhost::minicpm {

// [R, H, D]; scale multiplies the scores.
at::Tensor masked_attention(const TensorBatch &batch, const AttentionInputs &inputs, double scale);
// Fills `gradients`, of q, k and v, from what forward gave and the gradient of that, both [R, H, D].
void masked_attention_backward(const TensorBatch &batch, const AttentionInputs &inputs, double scale, const at::Tensor &output,
                               const at::Tensor &output_gradient, const AttentionInputs &gradients);

}  // namespace trainhost::minicpm
