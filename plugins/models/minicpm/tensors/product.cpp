#include "tensors/product.h"

#include <ATen/ops/addmm.h>

namespace trainhost::minicpm {

void product(const at::Tensor &a, const at::Tensor &b, at::Tensor out, double scale, bool add) {
  const int beta = add ? 1 : 0;
  if (out.scalar_type() == a.scalar_type()) {
    at::addmm_out(out, out, a, b, beta, scale);
  } else if (out.is_cpu()) {  // which has no product of this kind
    at::addmm_out(out, out, a.to(out.scalar_type()), b.to(out.scalar_type()), beta, scale);
  } else {
    at::addmm_out(out, out, a, b, out.scalar_type(), beta, scale);
  }
}

}  // namespace trainhost::minicpm
