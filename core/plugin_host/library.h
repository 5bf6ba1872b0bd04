// A plugin's shared library, loaded once per process and never unloaded.
#pragma once

#include "base/status.h"
#include "plugin_host/manifest.h"
#include "trainhost/plugin.h"

namespace trainhost {

// The checked table of the manifest's kind. Loads the library at the first call for its path (RTLD_NOW | RTLD_LOCAL) and calls its
// entry; a refusal is remembered. Errors: kPlugin with the loader's or the plugin's own text, or when the file is no longer the one whose
// manifest was read; kPluginContract. Any thread.
Result<const void *> load_kind_table(const Manifest &manifest);

}  // namespace trainhost
