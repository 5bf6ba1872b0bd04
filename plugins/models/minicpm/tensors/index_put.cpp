#include "tensors/index_put.h"

#include <optional>

#include <ATen/core/List.h>
#include <ATen/ops/_index_put_impl.h>
#include <ATen/ops/index_add.h>

namespace trainhost::minicpm {

void index_put(const at::Tensor &target, const at::Tensor &index, const at::Tensor &values, bool accumulate) {
  at::Tensor into = target;
  if (accumulate && into.is_cpu()) {  // where index_put adds from all threads in any order
    into.index_add_(0, index, values);
    return;
  }
  c10::List<std::optional<at::Tensor>> indices;
  indices.push_back(index);
  at::_index_put_impl_(into, indices, values, accumulate, /*unsafe=*/true);
}

}  // namespace trainhost::minicpm
