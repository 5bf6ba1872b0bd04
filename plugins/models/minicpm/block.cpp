// R rows (tokens), C width, H heads, K key-value heads, D = C / H, F feed-forward width, s residual scale. Weights are [outputs, inputs].
#include "block.h"

#include "matrix.h"

namespace trainhost::minicpm {

constexpr int64_t kGrain = 8;  // rows

Block::Block(const sdk::Host &host, const Configuration &configuration)
    : host_(host),
      kernels_(kernels()),
      attention_(host, configuration),
      norm_(host, configuration),
      width_(configuration.width),
      heads_(configuration.heads),
      qkv_width_(configuration.qkv_width()),
      feed_forward_(configuration.feed_forward),
      residual_scale_(configuration.residual_scale()) {}

Block::Saved::Counts Block::kept(const BatchShape &shape) const {
  const int64_t rows = shape.rows;
  return {rows, rows * qkv_width_, rows * heads_, rows * width_, rows * width_, rows, rows * 2 * feed_forward_};
}

Block::Working::Counts Block::worked(const BatchShape &shape) const {
  const int64_t rows = shape.rows;
  return {rows * width_, rows * feed_forward_, norm_.parts_size(rows), attention_.scratch_size(shape)};
}

MemoryUse Block::memory(const BatchShape &shape) const {
  const size_t working = Working::bytes(worked(shape));
  return {.saved = Saved::bytes(kept(shape)), .forward = working, .backward = working};
}

Block::Saved Block::forward(const Batch &batch, const float *const *parameters, const float *input, float *output) const {
  Saved saved(host_, kept(batch.shape()));
  const Working working(host_, worked(batch.shape()));
  const int64_t rows = batch.rows;
  const Matrix x(input, rows, width_), y(output, rows, width_);
  const Matrix normed(working[kNormed], rows, width_), hidden(working[kHidden], rows, feed_forward_);
  const Matrix qkv(saved[kQkvRotated], rows, qkv_width_), attended(saved[kAttended], rows, width_), middle(saved[kMiddle], rows, width_);
  const Matrix gate_up(saved[kGateAndUp], rows, 2 * feed_forward_);
  const Matrix w_qkv(parameters[kQkv], qkv_width_, width_), w_out(parameters[kOut], width_, width_);
  const Matrix w_gate_up(parameters[kGateUp], 2 * feed_forward_, width_), w_down(parameters[kDown], width_, feed_forward_);

  // middle = x + s Attention(norm(x) Wqkv^T) Wout^T
  norm_.forward(x.data, parameters[kAttentionNorm], rows, normed.data, saved[kAttentionRms]);
  multiply(normed, w_qkv.transposed(), qkv);
  attention_.forward(batch, qkv.data, attended.data, saved[kLogSumExp], working[kAttentionLanes]);
  multiply_add(x, attended, w_out.transposed(), middle, residual_scale_);

  // y = middle + s SwiGLU(norm(middle) Wgate_up^T) Wdown^T
  norm_.forward(middle.data, parameters[kFeedForwardNorm], rows, normed.data, saved[kFeedForwardRms]);
  multiply(normed, w_gate_up.transposed(), gate_up);
  host_.parallel_for(rows, kGrain,
                     [&](int64_t begin, int64_t end) { kernels_.swiglu(gate_up.data, feed_forward_, begin, end, hidden.data); });
  multiply_add(middle, hidden, w_down.transposed(), y, residual_scale_);
  return saved;
}

void Block::backward(const Batch &batch, const float *const *parameters, const float *input, Saved saved, const float *output_gradient,
                     float *input_gradient, float *const *parameter_gradients, const bool *add) const {
  const Working working(host_, worked(batch.shape()));
  const int64_t rows = batch.rows;
  const Matrix x(input, rows, width_), dy(output_gradient, rows, width_), dx(input_gradient, rows, width_);
  const Matrix normed(working[kNormed], rows, width_), hidden(working[kHidden], rows, feed_forward_);
  const Matrix qkv(saved[kQkvRotated], rows, qkv_width_), attended(saved[kAttended], rows, width_), middle(saved[kMiddle], rows, width_);
  const Matrix gate_up(saved[kGateAndUp], rows, 2 * feed_forward_);
  const auto weight = [&](BlockParameter which, int64_t outputs, int64_t inputs) { return Matrix(parameters[which], outputs, inputs); };
  const auto gradient = [&](BlockParameter which, const Matrix &d_output, const Matrix &of_input, float scale) {  // dW = scale dO^T I
    multiply(d_output.transposed(), of_input, Matrix(parameter_gradients[which], d_output.columns, of_input.columns), scale, add[which]);
  };

  // Feed-forward: from dy to the gradient of middle, which goes to dx. normed holds the norm's output, then the gradient of it.
  multiply(dy, weight(kDown, width_, feed_forward_), hidden, residual_scale_);
  host_.parallel_for(rows, kGrain,
                     [&](int64_t begin, int64_t end) { kernels_.swiglu_backward(gate_up.data, feed_forward_, begin, end, hidden.data); });
  gradient(kDown, dy, hidden, residual_scale_);
  norm_.again(middle.data, parameters[kFeedForwardNorm], saved[kFeedForwardRms], rows, normed.data);
  gradient(kGateUp, gate_up, normed, 1);
  multiply(gate_up, weight(kGateUp, 2 * feed_forward_, width_), normed);
  norm_.backward(normed.data, middle.data, parameters[kFeedForwardNorm], saved[kFeedForwardRms], dy.data, rows,
                 {dx.data, parameter_gradients[kFeedForwardNorm], add[kFeedForwardNorm], working[kNormParts]});

  // Attention: from the gradient of middle to that of x. normed holds the gradient of attended, then as above.
  gradient(kOut, dx, attended, residual_scale_);
  multiply(dx, weight(kOut, width_, width_), normed, residual_scale_);
  attention_.backward(batch, qkv.data, attended.data, saved[kLogSumExp], normed.data, working[kAttentionLanes]);
  norm_.again(x.data, parameters[kAttentionNorm], saved[kAttentionRms], rows, normed.data);
  gradient(kQkv, qkv, normed, 1);
  multiply(qkv, weight(kQkv, qkv_width_, width_), normed);
  norm_.backward(normed.data, x.data, parameters[kAttentionNorm], saved[kAttentionRms], dx.data, rows,
                 {dx.data, parameter_gradients[kAttentionNorm], add[kAttentionNorm], working[kNormParts]});
}

}  // namespace trainhost::minicpm
