#include "tensors/tensor_embedding.h"

#include <ATen/core/List.h>
#include <ATen/ops/_index_put_impl.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_select.h>

namespace trainhost::minicpm {

void TensorEmbedding::forward(const TensorBatch &batch, const at::Tensor &table, at::Tensor output) const {
  at::index_select_out(output, table, 0, batch.tokens);
  output.mul_(scale_);
}

// On CUDA adding by index is a race, so index_put sorts the rows by token; `unsafe` spares it a check of their range, the host's.
void TensorEmbedding::backward(const TensorBatch &batch, const at::Tensor &output_gradient, at::Tensor table_gradient, bool add) const {
  if (!add) table_gradient.zero_();
  const at::Tensor scaled = output_gradient.to(at::kFloat).mul(scale_);
  if (table_gradient.is_cpu()) {
    table_gradient.index_add_(0, batch.tokens, scaled);
  } else {
    c10::List<std::optional<at::Tensor>> rows;
    rows.push_back(batch.tokens);
    at::_index_put_impl_(table_gradient, rows, scaled, /*accumulate=*/true, /*unsafe=*/true);
  }
}

}  // namespace trainhost::minicpm
