// The first unit on tensors: tokens to rows of the embedding, times scale_emb.
#pragma once

#include "configuration.h"
#include "scratch.h"
#include "tensors/tensor_batch.h"

namespace trainhost::minicpm {

class TensorEmbedding {
 public:
  explicit TensorEmbedding(const Configuration &configuration) : width_(configuration.width), scale_(configuration.scale_emb) {}
  // Backward's float32 rows, and them scaled.
  MemoryUse memory(int64_t rows) const { return {.backward = 2 * sizeof(float) * static_cast<size_t>(rows * width_)}; }
  // output [R, C] from table [V, C].
  void forward(const TensorBatch &batch, const at::Tensor &table, at::Tensor output) const;
  // table_gradient [V, C] float32 from output_gradient [R, C], added or overwritten; the same bits again.
  void backward(const TensorBatch &batch, const at::Tensor &output_gradient, at::Tensor table_gradient, bool add) const;

 private:
  int64_t width_;
  double scale_;
};

}  // namespace trainhost::minicpm
