#include "tensors/tensor_block.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

#include "tensors/product.h"

namespace trainhost::minicpm {
namespace {

// hidden = silu(gate) * up; gate_up [R, 2F], gate first.
at::Tensor swiglu(const at::Tensor &gate_up, int64_t feed_forward) {
  return at::silu(gate_up.narrow(1, 0, feed_forward)).mul_(gate_up.narrow(1, feed_forward, feed_forward));
}

// The gradient of gate_up from that of hidden, whose memory it uses.
at::Tensor swiglu_backward(const at::Tensor &gate_up, int64_t feed_forward, const at::Tensor &hidden_gradient) {
  const at::Tensor gate = gate_up.narrow(1, 0, feed_forward), up = gate_up.narrow(1, feed_forward, feed_forward);
  at::Tensor gradient = at::empty_like(gate_up);
  at::Tensor d_gate = gradient.narrow(1, 0, feed_forward), d_up = gradient.narrow(1, feed_forward, feed_forward);
  at::mul_out(d_up, hidden_gradient, at::silu(gate));
  at::silu_backward_out(d_gate, hidden_gradient.mul_(up), gate);
  return gradient;
}

}  // namespace

TensorBlock::TensorBlock(const Configuration &configuration, at::Device device, at::ScalarType dtype)
    : attention_(configuration, device, dtype),
      norm_(configuration),
      feed_forward_(configuration.feed_forward),
      residual_scale_(configuration.residual_scale()) {}

TensorBlock::Saved TensorBlock::forward(const TensorBatch &batch, std::span<const at::Tensor> w, const at::Tensor &x,
                                        at::Tensor output) const {
  Saved saved;
  // middle = x + s Attention(norm(x) Wqkv^T) Wout^T
  saved.qkv = at::mm(norm_.forward(x, w[kAttentionNorm]).y, w[kQkv].t());
  saved.attention = attention_.forward(batch, saved.qkv);
  saved.middle = at::addmm(x, saved.attention.output, w[kOut].t(), 1, residual_scale_);

  // output = middle + s SwiGLU(norm(middle) Wgate_up^T) Wdown^T
  saved.gate_up = at::mm(norm_.forward(saved.middle, w[kFeedForwardNorm]).y, w[kGateUp].t());
  at::addmm_out(output, saved.middle, swiglu(saved.gate_up, feed_forward_), w[kDown].t(), 1, residual_scale_);
  return saved;
}

void TensorBlock::backward(const TensorBatch &batch, std::span<const at::Tensor> w, const at::Tensor &x, Saved saved, const at::Tensor &dy,
                           const at::Tensor &dx, std::span<const at::Tensor> parameter_gradients, const bool *add) const {
  const auto gradient = [&](BlockParameter which, const at::Tensor &d_output, const at::Tensor &of_input, double scale) {
    product(d_output.t(), of_input, parameter_gradients[which], scale, add[which]);  // dW = scale dO^T I
  };
  const auto through = [](const at::Tensor &d_output, const at::Tensor &weight) { return at::mm(d_output, weight); };
  const auto norm_backward = [&](BlockParameter which, const at::Tensor &d_normed, const at::Tensor &of_input,
                                 const at::Tensor &inverse_rms, const at::Tensor &skipped) {
    norm_.backward(d_normed, of_input, w[which], inverse_rms, skipped, {dx, parameter_gradients[which], add[which]});
  };

  // Feed-forward: from dy to the gradient of middle, which goes to dx.
  at::Tensor d_hidden = at::empty({batch.rows, feed_forward_}, dy.options());
  product(dy, w[kDown], d_hidden, residual_scale_);
  gradient(kDown, dy, swiglu(saved.gate_up, feed_forward_), residual_scale_);
  const at::Tensor d_gate_up = swiglu_backward(saved.gate_up, feed_forward_, d_hidden);
  saved.gate_up.reset();
  {
    const auto [normed, inverse_rms] = norm_.forward(saved.middle, w[kFeedForwardNorm]);
    gradient(kGateUp, d_gate_up, normed, 1);
    norm_backward(kFeedForwardNorm, through(d_gate_up, w[kGateUp]), saved.middle, inverse_rms, dy);
  }
  saved.middle.reset();

  // Attention: from the gradient of middle to that of x.
  gradient(kOut, dx, saved.attention.output, residual_scale_);
  at::Tensor d_attended = at::empty_like(saved.attention.output);
  product(dx, w[kOut], d_attended, residual_scale_);
  const at::Tensor d_qkv = attention_.backward(batch, saved.qkv, saved.attention, d_attended);
  saved = Saved();
  const auto [normed, inverse_rms] = norm_.forward(x, w[kAttentionNorm]);
  gradient(kQkv, d_qkv, normed, 1);
  norm_backward(kAttentionNorm, through(d_qkv, w[kQkv]), x, inverse_rms, dx);
}

}  // namespace trainhost::minicpm
