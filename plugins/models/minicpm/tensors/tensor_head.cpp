// R rows (tokens), C width, V vocabulary. The logits of a piece become their own gradient in place, which goes on to the input and the
// weight at once.
#include "tensors/tensor_head.h"

#include <algorithm>

#include <ATen/ops/arange.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>

#include "tensors/index_put.h"
#include "tensors/product.h"

namespace trainhost::minicpm {
namespace {

// Logits [n, V] become exp(logits - largest), whose sums [n, 1] are given; losses [n] are set to -log softmax at the
// targets, which are indices into all n V logits.
at::Tensor exponentials(const at::Tensor &logits, const at::Tensor &targets, const at::Tensor &losses) {
  logits.sub_(logits.amax(1, true));
  const at::Tensor at_target = logits.flatten().index_select(0, targets);
  at::Tensor sums = logits.exp_().sum(1, true);
  losses.copy_(sums.squeeze(1).log().sub_(at_target));
  return sums;
}

// Exponentials become the gradient of the logits: (softmax - one at the target) * factor, factor [n, 1].
void softmax_gradient(const at::Tensor &exponentials, const at::Tensor &sums, const at::Tensor &targets, const at::Tensor &factor) {
  exponentials.mul_(at::div(factor, sums));
  const at::Tensor flat = exponentials.flatten();
  index_put(flat, targets, flat.index_select(0, targets).sub_(factor.squeeze(1)), /*accumulate=*/false);
}

}  // namespace

TensorHead::TensorHead(const Configuration &configuration, int64_t piece_logits)
    : norm_(configuration),
      width_(configuration.width),
      vocabulary_(configuration.vocabulary),
      piece_rows_(std::max<int64_t>(piece_logits / vocabulary_, 1)),
      logit_scale_(configuration.logit_scale()) {}

// A piece's logits, their gradient in the compute dtype where that is another, and its norm; a number for each row, and twice in double.
MemoryUse TensorHead::memory(int64_t rows, at::ScalarType dtype) const {
  const int64_t piece = std::min(piece_rows_, rows);
  const size_t item = at::elementSize(dtype), logits = static_cast<size_t>(piece * vocabulary_), x = static_cast<size_t>(piece * width_);
  const size_t losses = static_cast<size_t>(rows) * (sizeof(float) + 2 * sizeof(double));
  return {.forward = logits * sizeof(float) + x * item + losses,
          .backward = logits * (sizeof(float) + (dtype == at::kFloat ? 0 : item)) + 2 * x * item + norm_.backward_bytes(piece) + losses};
}

void TensorHead::loss(const TensorBatch &batch, std::span<const at::Tensor> w, const at::Tensor &input, const at::Tensor &loss,
                      const Gradients *gradients) const {
  const auto float_options = batch.loss_weights.options();
  const at::Tensor losses = batch.token_losses.defined() ? batch.token_losses : at::empty({batch.rows}, float_options);
  const at::Tensor all_logits = at::empty({std::min(piece_rows_, batch.rows), vocabulary_}, float_options);
  for (int64_t first = 0; first < batch.rows; first += piece_rows_) {
    const int64_t rows = std::min(piece_rows_, batch.rows - first);
    const auto piece = [&](const at::Tensor &tensor) { return tensor.narrow(0, first, rows); };
    const at::Tensor x = piece(input), logits = all_logits.narrow(0, 0, rows);
    const at::Tensor targets =
        at::arange(rows, at::TensorOptions(at::kLong).device(x.device())).mul_(vocabulary_).add_(piece(batch.targets));
    const auto [normed, inverse_rms] = norm_.forward(x, w[kHeadNorm]);
    product(normed, w[kHeadWeight].t(), logits, logit_scale_);
    const at::Tensor sums = exponentials(logits, targets, piece(losses));
    if (gradients == nullptr) continue;

    softmax_gradient(logits, sums, targets, at::mul(piece(batch.loss_weights), batch.loss_scale).unsqueeze(1));
    const at::Tensor d_logits = logits.to(input.scalar_type());
    const auto add = [&](HeadParameter which) { return first > 0 || gradients->add[which]; };
    product(d_logits.t(), normed, gradients->parameters[kHeadWeight], logit_scale_, add(kHeadWeight));
    const at::Tensor d_normed = at::empty_like(normed);
    product(d_logits, w[kHeadWeight], d_normed, logit_scale_);
    norm_.backward(d_normed, x, w[kHeadNorm], inverse_rms, {}, {piece(gradients->input), gradients->parameters[kHeadNorm], add(kHeadNorm)});
  }
  loss.copy_(at::mul(losses.to(at::kDouble), batch.loss_weights).sum().mul_(batch.loss_scale));
}

void TensorHead::logits(std::span<const at::Tensor> w, const at::Tensor &input, const at::Tensor &logits) const {
  product(norm_.forward(input, w[kHeadNorm]).y, w[kHeadWeight].t(), logits, logit_scale_);
}

}  // namespace trainhost::minicpm
