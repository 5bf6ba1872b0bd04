// What minicpm runs on CUDA, on CPU tensors.
#include "support/fixture_plugin.h"
#include "unit/models/minicpm_place.h"

namespace trainhost {

std::vector<MinicpmPlace> minicpm_places() {
  const std::string plugin = fixture_plugin("minicpm_tensors");
  return {{.name = "tensors", .plugin = plugin}, {.name = "bfloat16_tensors", .plugin = plugin, .bfloat16 = true}};
}

Device &device_of(const MinicpmPlace &) { return cpu_device(); }

std::string why_not(const MinicpmPlace &) { return ""; }

}  // namespace trainhost
