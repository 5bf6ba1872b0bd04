#include "tensors/tensor_attention.h"

#include <cmath>

#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>

#include "tensors/masked_attention.h"

namespace trainhost::minicpm {

TensorAttention::TensorAttention(const Configuration &configuration, at::Device device, at::ScalarType dtype)
    : heads_(configuration.heads),
      kv_heads_(configuration.kv_heads),
      head_dimension_(configuration.head_dimension()),
      scale_(1 / std::sqrt(static_cast<double>(head_dimension_))),
      has_fused_(has_fused_attention(device, dtype, head_dimension_)) {
  const at::Tensor exponents = at::arange(0, head_dimension_, 2, at::kDouble).div_(-head_dimension_);
  const at::Tensor angles = at::outer(at::arange(configuration.sequence_length, at::kDouble), at::pow(configuration.rope_theta, exponents));
  cosine_ = at::cos(angles).to(at::kFloat).to(device);
  sine_ = at::sin(angles).to(at::kFloat).to(device);
}

TensorAttention::Result TensorAttention::forward(const TensorBatch &batch, const at::Tensor &qkv) const {
  rotate(batch, qkv, 1);
  const AttentionInputs inputs(qkv, heads_, kv_heads_);
  if (!has_fused_) return {masked_attention(batch, inputs, scale_).flatten(1), {}};
  FusedAttention fused = fused_attention(batch, inputs, scale_, choose_fused_kernel(batch, head_dimension_));
  return {fused.output.flatten(1), std::move(fused)};
}

at::Tensor TensorAttention::backward(const TensorBatch &batch, const at::Tensor &qkv, const Result &forward,
                                     const at::Tensor &output_gradient) const {
  const AttentionInputs inputs(qkv, heads_, kv_heads_);
  const at::Tensor gradient = at::empty_like(qkv), by_head = output_gradient.unflatten(1, {heads_, head_dimension_});
  const AttentionInputs gradients(gradient, heads_, kv_heads_);
  if (forward.fused) {
    fused_attention_backward(batch, inputs, scale_, *forward.fused, by_head, gradients);
  } else {
    masked_attention_backward(batch, inputs, scale_, forward.output.unflatten(1, {heads_, head_dimension_}), by_head, gradients);
  }
  rotate(batch, gradient, -1);
  return gradient;
}

// The halves (a, b) of each head of q and k become (a cos - b sin, b cos + a sin), computed in float32.
void TensorAttention::rotate(const TensorBatch &batch, const at::Tensor &qkv, double direction) const {
  const auto of_rows = [&](const at::Tensor &table) { return table.index_select(0, batch.positions).unsqueeze(1); };  // [R, 1, D/2]
  const at::Tensor cosine = of_rows(cosine_), sine = of_rows(sine_).mul_(direction);
  const at::Tensor turned = qkv.view({batch.rows, -1, head_dimension_}).narrow(1, 0, heads_ + kv_heads_);
  const at::Tensor a = turned.narrow(2, 0, head_dimension_ / 2), b = turned.narrow(2, head_dimension_ / 2, head_dimension_ / 2);
  const at::Tensor new_a = at::mul(a, cosine).sub_(at::mul(b, sine));
  b.copy_(at::mul(b, cosine).add_(at::mul(a, sine)));
  a.copy_(new_a);
}

}  // namespace trainhost::minicpm
