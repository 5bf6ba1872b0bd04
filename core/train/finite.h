// Whether numbers are numbers.
#pragma once

#include <span>
#include <string>

#include "checkpoint/checkpoint.h"

namespace trainhost {

// The name of the first tensor that has a NaN or an infinity; empty: none. Any thread.
std::string first_not_finite(std::span<const NamedTensor> tensors);

}  // namespace trainhost
