// The GPU of this machine, for tests.
#pragma once

#include <string>

#include "device/device.h"

namespace trainhost {

// Why there is none; empty: there is one. The same each time.
std::string why_no_gpu();
// The first one, opened once; throws std::runtime_error where there is none.
Device &gpu_under_test();

}  // namespace trainhost
