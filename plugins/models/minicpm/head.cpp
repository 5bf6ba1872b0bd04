// R rows (tokens), C width, V vocabulary. A piece is a run of rows: its logits become their own gradient in place, which goes on to the
// input and the weight at once.
#include "head.h"

#include <algorithm>

#include "matrix.h"

namespace trainhost::minicpm {
namespace {

constexpr int64_t kPieceLogits = int64_t{4} << 20;  // floats: 16 MiB stay near the cache
constexpr int64_t kFewestRows = 64, kMostRows = 512;

}  // namespace

Head::Head(const sdk::Host &host, const Configuration &configuration)
    : host_(host),
      kernels_(kernels()),
      norm_(host, configuration),
      width_(configuration.width),
      vocabulary_(configuration.vocabulary),
      logit_scale_(configuration.logit_scale()) {}

int64_t Head::piece_rows(int64_t rows) const { return std::min(rows, std::clamp(kPieceLogits / vocabulary_, kFewestRows, kMostRows)); }

Head::Working::Counts Head::worked(int64_t rows) const {
  const int64_t most = piece_rows(rows);
  return {most * width_, most, most * vocabulary_, rows, norm_.parts_size(most)};
}

MemoryUse Head::memory(const BatchShape &shape) const {
  const size_t working = Working::bytes(worked(shape.rows));
  return {.saved = 0, .forward = working, .backward = working};
}

double Head::loss(const Batch &batch, const float *const *parameters, const float *input, const Gradients *gradients) const {
  const int64_t most = piece_rows(batch.rows);
  const Working working(host_, worked(batch.rows));
  float *const losses = batch.token_losses != nullptr ? batch.token_losses : working[kLosses];
  const Matrix weight(parameters[kHeadWeight], vocabulary_, width_);
  for (int64_t first = 0; first < batch.rows; first += most) {
    const int64_t rows = std::min(most, batch.rows - first);
    const float *const x = input + first * width_;
    const Matrix normed(working[kNormed], rows, width_), logits(working[kLogits], rows, vocabulary_);
    norm_.forward(x, parameters[kHeadNorm], rows, normed.data, working[kRms]);
    multiply(normed, weight.transposed(), logits, logit_scale_);
    host_.parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
      kernels_.cross_entropy(logits.data, batch.targets + first, batch.loss_weights + first, static_cast<float>(batch.loss_scale),
                             gradients != nullptr, vocabulary_, begin, end, losses + first);
    });
    if (gradients == nullptr) continue;
    const auto add = [&](HeadParameter which) { return first > 0 || gradients->add[which]; };
    multiply(logits.transposed(), normed, Matrix(gradients->parameters[kHeadWeight], vocabulary_, width_), logit_scale_, add(kHeadWeight));
    multiply(logits, weight, normed, logit_scale_);
    norm_.backward(normed.data, x, parameters[kHeadNorm], working[kRms], nullptr, rows,
                   {gradients->input + first * width_, gradients->parameters[kHeadNorm], add(kHeadNorm), working[kNormParts]});
  }
  double sum = 0;
  for (int64_t t = 0; t < batch.rows; ++t) sum += double{batch.loss_weights[t]} * losses[t];
  return sum * batch.loss_scale;
}

void Head::logits(const float *const *parameters, const float *input, std::span<const int32_t> rows, float *logits) const {
  const auto count = static_cast<int64_t>(rows.size());
  const Scratch<3> working(host_, {count * width_, count * width_, count});
  float *const chosen = working[0], *const inverse_rms = working[2];
  for (int64_t i = 0; i < count; ++i) std::copy_n(input + rows[i] * width_, width_, chosen + i * width_);
  const Matrix normed(working[1], count, width_);
  norm_.forward(chosen, parameters[kHeadNorm], count, normed.data, inverse_rms);
  multiply(normed, Matrix(parameters[kHeadWeight], vocabulary_, width_).transposed(), Matrix(logits, count, vocabulary_), logit_scale_);
}

}  // namespace trainhost::minicpm
