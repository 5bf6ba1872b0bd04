// Calls of plugins that never return.
#pragma once

#include "plugin_host/plugin_call.h"
#include "recipe/recipe.h"

namespace trainhost {

// While it lives, a call that shows no sign of life for parallel.timeout seconds ends the process with its error, in the log and in the
// launcher's error file: the call cannot be ended, but the process can, and other ranks, and whoever started it, then know.
PluginDeadline watch_plugins(const Recipe::Parallel &parallel = {});

}  // namespace trainhost
