#include "kernels/kernels.h"

namespace trainhost::minicpm {

const Kernels &kernels() {
  if (__builtin_cpu_supports("x86-64-v4")) return kKernels_x86_64_v4;
  if (__builtin_cpu_supports("x86-64-v3")) return kKernels_x86_64_v3;
  return kKernels_x86_64;
}

}  // namespace trainhost::minicpm
