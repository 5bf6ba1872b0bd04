// A copy of a pinned plugin's file, in memory that nobody can write to any more: what is hashed is what is loaded, whatever happens to the
// file meanwhile.
#pragma once

#include <string>

#include "base/status.h"
#include "plugin_host/manifest.h"

namespace trainhost {

// Reads the file once, and gives a path under which the loader finds those very bytes; good until the process ends, as the plugin is. Fails
// with kPlugin when they have not the manifest's SHA-256, or cannot be read or kept.
Result<std::string> pinned_copy(const Manifest &manifest);

// Loads the libraries that the plugin needs from folders that its run path names. The loader takes $ORIGIN there for the copy's folder and
// would not find them; loaded before, they are there. What is not found so is left to the loader.
void load_needed_libraries(const Manifest &manifest);

}  // namespace trainhost
