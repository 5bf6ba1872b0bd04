// A manifest as the tools print it.
#pragma once

#include <nlohmann/json.hpp>

#include "plugin_host/manifest.h"

namespace trainhost {

// All that its author wrote, the file and its SHA-256. Texts need not be UTF-8: dump with an error handler.
nlohmann::ordered_json to_json(const Manifest &manifest);

}  // namespace trainhost
