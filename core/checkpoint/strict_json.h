// JSON that was written by somebody else.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace trainhost {

// Parses what every reader would understand alike: one value, UTF-8, no duplicate keys, at most 16 levels deep. The error is kData and
// begins with `path`.
Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string &path);

}  // namespace trainhost
