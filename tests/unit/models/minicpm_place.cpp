// On this machine's CPUs: minicpm as it is, and what it runs on CUDA.
#include "unit/models/minicpm_place.h"

#include "support/fixture_plugin.h"

namespace trainhost {

std::vector<MinicpmPlace> minicpm_places() {
  const std::string tensors = fixture_plugin("minicpm_tensors");
  return {{.name = "kernels", .plugin = "minicpm"},
          {.name = "tensors", .plugin = tensors},
          {.name = "bfloat16_tensors", .plugin = tensors, .bfloat16 = true}};
}

Device &device_of(const MinicpmPlace &) { return cpu_device(); }

std::string why_not(const MinicpmPlace &) { return ""; }

}  // namespace trainhost
