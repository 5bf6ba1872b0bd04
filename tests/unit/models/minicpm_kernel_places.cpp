// minicpm as it runs on CPUs.
#include "unit/models/minicpm_place.h"

namespace trainhost {

std::vector<MinicpmPlace> minicpm_places() { return {{.name = "kernels", .plugin = "minicpm"}}; }

Device &device_of(const MinicpmPlace &) { return cpu_device(); }

std::string why_not(const MinicpmPlace &) { return ""; }

}  // namespace trainhost
