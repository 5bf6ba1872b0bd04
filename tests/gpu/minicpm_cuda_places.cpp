// minicpm on a GPU.
#include "gpu/gpu_under_test.h"
#include "unit/models/minicpm_place.h"

namespace trainhost {

std::vector<MinicpmPlace> minicpm_places() {
  return {{.name = "cuda", .plugin = "minicpm"}, {.name = "bfloat16_cuda", .plugin = "minicpm", .bfloat16 = true}};
}

Device &device_of(const MinicpmPlace &) { return gpu_under_test(); }

std::string why_not(const MinicpmPlace &) { return why_no_gpu(); }

}  // namespace trainhost
