// The last unit: norm, logits, cross-entropy. It works through the rows in pieces, so that [R, V] never exists.
#pragma once

#include <span>

#include "batch.h"
#include "configuration.h"
#include "kernels/kernels.h"
#include "parameters.h"
#include "rms_norm.h"
#include "scratch.h"

namespace trainhost::minicpm {

class Head {
 public:
  Head(const sdk::Host &host, const Configuration &configuration);

  struct Gradients {
    float *input;              // [R, C], overwritten
    float *const *parameters;  // in the order of HeadParameter
    const bool *add;           // one each: added to, else overwritten
  };
  // The sum of loss_weights * token loss * loss_scale; fills batch.token_losses where they are asked for, and the gradients of that sum
  // where they are not null.
  double loss(const Batch &batch, const float *const *parameters, const float *input, const Gradients *gradients) const;
  // logits [rows.size(), V] of the given rows of input [R, C].
  void logits(const float *const *parameters, const float *input, std::span<const int32_t> rows, float *logits) const;
  MemoryUse memory(const BatchShape &shape) const;

 private:
  enum { kNormed, kRms, kLogits, kLosses, kNormParts, kParts };
  using Working = Scratch<kParts>;
  int64_t piece_rows(int64_t rows) const;
  Working::Counts worked(int64_t rows) const;

  sdk::Host host_;
  const Kernels &kernels_;
  RmsNorm norm_;
  int64_t width_, vocabulary_;
  float logit_scale_;
};

}  // namespace trainhost::minicpm
