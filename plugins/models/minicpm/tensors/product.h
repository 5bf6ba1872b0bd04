// Matrix products whose result may be more precise than their factors.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainhost::minicpm {

// out = scale a b, or out + scale a b where add. out has the dtype of a and b, or is float32: then nothing is rounded between.
void product(const at::Tensor &a, const at::Tensor &b, at::Tensor out, double scale = 1, bool add = false);

}  // namespace trainhost::minicpm
