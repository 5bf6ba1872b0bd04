// One value against what a manifest says of its parameter.
#pragma once

#include <optional>
#include <string>

#include "plugin_host/manifest.h"

namespace trainhost {

// Brings the value into its type's form (an integer where a number is asked for becomes one) and says what is wrong with it, as in
// "must be at least 0, found -1"; nothing when it is right.
std::optional<std::string> check_value(const ParameterSpec &spec, ParameterValue &value);

}  // namespace trainhost
