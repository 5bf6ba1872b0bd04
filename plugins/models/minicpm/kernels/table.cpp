#include "kernels/kernels.h"
#include "kernels/level.h"

#define TRAINHOST_JOIN(a, b) a##b
#define TRAINHOST_TABLE(level) TRAINHOST_JOIN(kKernels_, level)

namespace trainhost::minicpm {

using namespace TRAINHOST_KERNEL_LEVEL;

const Kernels TRAINHOST_TABLE(TRAINHOST_KERNEL_LEVEL) = {
    .embed = embed,
    .embed_backward = embed_backward,
    .rms_norm = rms_norm,
    .rms_norm_again = rms_norm_again,
    .rms_norm_backward = rms_norm_backward,
    .sum_parts = sum_parts,
    .rotate = rotate,
    .causal_softmax = causal_softmax,
    .causal_softmax_backward = causal_softmax_backward,
    .row_products = row_products,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .cross_entropy = cross_entropy,
};

}  // namespace trainhost::minicpm
