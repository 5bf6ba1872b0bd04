#include "tensors/tensor_embedding.h"

#include <ATen/ops/index_select.h>

#include "tensors/index_put.h"

namespace trainhost::minicpm {

void TensorEmbedding::forward(const TensorBatch &batch, const at::Tensor &table, at::Tensor output) const {
  at::index_select_out(output, table, 0, batch.tokens);
  output.mul_(scale_);
}

void TensorEmbedding::backward(const TensorBatch &batch, const at::Tensor &output_gradient, at::Tensor table_gradient, bool add) const {
  if (!add) table_gradient.zero_();
  index_put(table_gradient, batch.tokens, output_gradient.to(at::kFloat).mul(scale_), /*accumulate=*/true);
}

}  // namespace trainhost::minicpm
