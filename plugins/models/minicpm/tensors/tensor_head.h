// The last unit: norm, logits, cross-entropy in float32. It works through the rows in pieces, so that [R, V] never exists.
#pragma once

#include <span>

#include "parameters.h"
#include "scratch.h"
#include "tensors/tensor_batch.h"
#include "tensors/tensor_rms_norm.h"

namespace trainhost::minicpm {

class TensorHead {
 public:
  // A piece is so many rows that it has piece_logits logits or fewer.
  TensorHead(const Configuration &configuration, int64_t piece_logits);

  MemoryUse memory(int64_t rows, at::ScalarType dtype) const;

  struct Gradients {
    at::Tensor input;                        // [R, C], overwritten
    std::span<const at::Tensor> parameters;  // float32, in the order of HeadParameter
    const bool *add;                         // one each: added to, else overwritten
  };
  // loss [1] float32: the sum of loss_weights * token loss * loss_scale; fills batch.token_losses where they are asked for, and the
  // gradients of that sum where they are not null.
  void loss(const TensorBatch &batch, std::span<const at::Tensor> parameters, const at::Tensor &input, const at::Tensor &loss,
            const Gradients *gradients) const;
  // logits [rows, V] float32 of rows of input [rows, C].
  void logits(std::span<const at::Tensor> parameters, const at::Tensor &input, const at::Tensor &logits) const;

 private:
  TensorRmsNorm norm_;
  int64_t width_, vocabulary_, piece_rows_;
  double logit_scale_;
};

}  // namespace trainhost::minicpm
