#include "tensors/tensor_rms_norm.h"

#include <ATen/ops/_fused_rms_norm.h>
#include <ATen/ops/add.h>
#include <ATen/ops/mul.h>

namespace trainhost::minicpm {

TensorRmsNorm::Output TensorRmsNorm::forward(const at::Tensor &x, const at::Tensor &weight) const {
  auto [y, inverse_rms] = at::_fused_rms_norm(x, {width_}, weight, epsilon_);
  return {std::move(y), inverse_rms.view({-1, 1})};
}

// With n = x r and g = w dy: dw = sum of dy n, dx = skipped + r (g - n mean(g n)). All products are float32: one factor is.
void TensorRmsNorm::backward(const at::Tensor &dy, const at::Tensor &x, const at::Tensor &weight, const at::Tensor &inverse_rms,
                             const at::Tensor &skipped, const Gradients &gradients) const {
  const at::Tensor normed = at::mul(x, inverse_rms), d = dy.to(at::kFloat);
  at::Tensor weight_gradient = gradients.weight_gradient, dx = gradients.dx;
  const at::Tensor sum = at::mul(d, normed).sum(0);
  gradients.add ? weight_gradient.add_(sum) : weight_gradient.copy_(sum);
  at::Tensor g = at::mul(d, weight);
  const at::Tensor mean = at::mul(g, normed).mean(1, true);
  g.addcmul_(normed, mean, -1).mul_(inverse_rms);
  skipped.defined() ? at::add_out(dx, g, skipped) : dx.copy_(g);
}

}  // namespace trainhost::minicpm
