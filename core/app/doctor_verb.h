// `trainhost doctor`: what this machine offers, how this process was started, and what would keep it from training.
#pragma once

#include <ostream>

#include "base/status.h"

namespace trainhost {

// Prints what it found, then each problem with what to do about it; json: the same for programs. Loads the CUDA driver and the c10d module.
// Fails where something would prevent training, with the kind of the first such problem.
Result<> print_diagnosis(bool json, std::ostream &out);

}  // namespace trainhost
