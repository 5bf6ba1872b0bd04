#include "tensors/tensor_block.h"

#include <algorithm>

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
      width_(configuration.width),
      heads_(configuration.heads),
      kv_heads_(configuration.kv_heads),
      qkv_width_(configuration.qkv_width()),
      feed_forward_(configuration.feed_forward),
      residual_scale_(configuration.residual_scale()) {}

MemoryUse TensorBlock::memory(int64_t rows, at::ScalarType dtype) const {
  const auto bytes = [&](int64_t columns, size_t item) { return static_cast<size_t>(rows * columns) * item; };
  const size_t item = at::elementSize(dtype), head_dimension = static_cast<size_t>(width_ / heads_);
  const size_t rotating = bytes(heads_ + kv_heads_, 3 * sizeof(float) * head_dimension / 2);
  const size_t attention_backward = bytes(width_ + 2 * qkv_width_, item) + bytes(width_, sizeof(float));
  const size_t norm_backward = bytes(2 * feed_forward_ + 2 * width_, item) + norm_.backward_bytes(rows);
  return {.saved = bytes(qkv_width_ + 2 * width_ + 2 * feed_forward_, item) + bytes(heads_, sizeof(float)),
          .forward = std::max({bytes(width_, item), bytes(feed_forward_, item), rotating}),
          .backward = std::max({bytes(4 * feed_forward_, item), attention_backward, norm_backward})};
}

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

void TensorBlock::backward(const TensorBatch &batch, std::span<const at::Tensor> parameters, const at::Tensor &input, Saved saved,
                           const at::Tensor &output_gradient, const Gradients &gradients) const {
  feed_forward_backward(parameters, saved, output_gradient, gradients);
  saved.middle.reset();
  saved.gate_up.reset();
  attention_backward(batch, parameters, input, std::move(saved), gradients);
}

// dW = scale dO^T I
void TensorBlock::Gradients::of_weight(BlockParameter which, const at::Tensor &d_output, const at::Tensor &of_input, double scale) const {
  product(d_output.t(), of_input, parameters[which], scale, add[which]);
}

// From the gradient of the output to that of middle, which goes to the input's place.
void TensorBlock::feed_forward_backward(std::span<const at::Tensor> w, const Saved &saved, const at::Tensor &dy,
                                        const Gradients &gradients) const {
  at::Tensor d_gate_up;
  {
    const at::Tensor d_hidden = at::empty({dy.size(0), feed_forward_}, dy.options());
    product(dy, w[kDown], d_hidden, residual_scale_);
    gradients.of_weight(kDown, dy, swiglu(saved.gate_up, feed_forward_), residual_scale_);
    d_gate_up = swiglu_backward(saved.gate_up, feed_forward_, d_hidden);
  }
  const auto [normed, inverse_rms] = norm_.forward(saved.middle, w[kFeedForwardNorm]);
  gradients.of_weight(kGateUp, d_gate_up, normed, 1);
  norm_.backward(at::mm(d_gate_up, w[kGateUp]), saved.middle, w[kFeedForwardNorm], inverse_rms, dy,
                 {gradients.input, gradients.parameters[kFeedForwardNorm], gradients.add[kFeedForwardNorm]});
}

// From the gradient of middle to that of the input, in one place.
void TensorBlock::attention_backward(const TensorBatch &batch, std::span<const at::Tensor> w, const at::Tensor &x, Saved saved,
                                     const Gradients &gradients) const {
  const at::Tensor &d_middle = gradients.input;
  gradients.of_weight(kOut, d_middle, saved.attention.output, residual_scale_);
  at::Tensor d_attended = at::empty_like(d_middle);
  product(d_middle, w[kOut], d_attended, residual_scale_);
  const at::Tensor d_qkv = attention_.backward(batch, saved.qkv, saved.attention, d_attended);
  d_attended.reset();
  saved = Saved();
  const auto [normed, inverse_rms] = norm_.forward(x, w[kAttentionNorm]);
  gradients.of_weight(kQkv, d_qkv, normed, 1);
  norm_.backward(at::mm(d_qkv, w[kQkv]), x, w[kAttentionNorm], inverse_rms, d_middle,
                 {gradients.input, gradients.parameters[kAttentionNorm], gradients.add[kAttentionNorm]});
}

}  // namespace trainhost::minicpm
