#include "tensors/fused_attention.h"

#include <tuple>

#include <ATen/Context.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>

namespace trainhost::minicpm {
namespace {

constexpr int64_t kAlignment = 8, kLargestFlash = 256, kLargestCudnn = 128;  // of a head's dimension

// [R, heads, D] as cuDNN takes it, [B, heads, T, D], and back.
at::Tensor by_sequence(const TensorBatch &batch, const at::Tensor &rows) {
  return rows.unflatten(0, {batch.sequences, batch.length}).transpose(1, 2);
}
at::Tensor by_row(const at::Tensor &sequences) { return sequences.transpose(1, 2).flatten(0, 1); }

FusedAttention cudnn_attention(const TensorBatch &batch, const AttentionInputs &inputs, double scale) {
  const auto result = at::_scaled_dot_product_cudnn_attention(by_sequence(batch, inputs.q), by_sequence(batch, inputs.k),
                                                              by_sequence(batch, inputs.v), /*attn_bias=*/{}, /*compute_log_sumexp=*/true,
                                                              /*dropout_p=*/0, /*is_causal=*/true, /*return_debug_mask=*/false, scale);
  return {FusedKernel::kCudnn, by_row(std::get<0>(result)).contiguous(), std::get<1>(result), std::get<6>(result), std::get<7>(result)};
}

// batch.length is not less than the longest document, whose length only the device knows.
FusedAttention flash_attention(const TensorBatch &batch, const AttentionInputs &inputs, double scale) {
  auto [output, log_sum_exp, seed, offset, debug] = at::_flash_attention_forward(
      inputs.q, inputs.k, inputs.v, batch.document_starts, batch.document_starts, batch.length, batch.length, /*dropout_p=*/0,
      /*is_causal=*/true, /*return_debug_mask=*/false, scale);
  return {FusedKernel::kFlash, std::move(output), std::move(log_sum_exp), std::move(seed), std::move(offset)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> cudnn_backward(const TensorBatch &batch, const AttentionInputs &inputs, double scale,
                                                              const FusedAttention &forward, const at::Tensor &output_gradient) {
  const at::Tensor none;
  const auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(
      by_sequence(batch, output_gradient), by_sequence(batch, inputs.q), by_sequence(batch, inputs.k), by_sequence(batch, inputs.v),
      by_sequence(batch, forward.output), forward.log_sum_exp, forward.seed, forward.offset, /*attn_bias=*/none, /*cum_seq_q=*/none,
      /*cum_seq_k=*/none, batch.length, batch.length, /*dropout_p=*/0, /*is_causal=*/true, scale);
  return {by_row(dq), by_row(dk), by_row(dv)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> flash_backward(const TensorBatch &batch, const AttentionInputs &inputs, double scale,
                                                              const FusedAttention &forward, const at::Tensor &output_gradient) {
  return at::_flash_attention_backward(output_gradient, inputs.q, inputs.k, inputs.v, forward.output, forward.log_sum_exp,
                                       batch.document_starts, batch.document_starts, batch.length, batch.length, /*dropout_p=*/0,
                                       /*is_causal=*/true, forward.seed, forward.offset, scale);
}

}  // namespace

bool has_fused_attention(at::Device device, at::ScalarType dtype, int64_t head_dimension) {
  return device.is_cuda() && dtype == at::kBFloat16 && head_dimension % kAlignment == 0 && head_dimension <= kLargestFlash;
}

FusedKernel choose_fused_kernel(const TensorBatch &batch, int64_t head_dimension) {
  const at::Context &context = at::globalContext();
  const bool allowed = context.userEnabledCuDNNSDP() && !context.deterministicAlgorithms();
  const bool able = batch.one_document_each() && batch.length > 1 && head_dimension <= kLargestCudnn;
  return allowed && able ? FusedKernel::kCudnn : FusedKernel::kFlash;
}

FusedAttention fused_attention(const TensorBatch &batch, const AttentionInputs &inputs, double scale, FusedKernel kernel) {
  return kernel == FusedKernel::kCudnn ? cudnn_attention(batch, inputs, scale) : flash_attention(batch, inputs, scale);
}

void fused_attention_backward(const TensorBatch &batch, const AttentionInputs &inputs, double scale, const FusedAttention &forward,
                              const at::Tensor &output_gradient, const AttentionInputs &gradients) {
  const auto backward = forward.kernel == FusedKernel::kCudnn ? cudnn_backward : flash_backward;
  const auto [dq, dk, dv] = backward(batch, inputs, scale, forward, output_gradient);
  gradients.q.copy_(dq);
  gradients.k.copy_(dk);
  gradients.v.copy_(dv);
}

}  // namespace trainhost::minicpm
