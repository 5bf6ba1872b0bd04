// `trainhost plugins`: which plugins there are, and what parameters one of them takes.
#pragma once

#include <ostream>
#include <string>

#include "base/status.h"
#include "plugin_host/registry.h"

namespace trainhost {

enum class PluginsFormat { kTable, kJson };

// All plugins by kind and name, then the files that were refused and why.
void print_plugins(const PluginRegistry &registry, PluginsFormat format, std::ostream &out);

// Each plugin with that name or id, or the one at that path (with a '/' in it), with its parameters. Fails with kUsage when there is
// none, kPlugin when the file is refused.
Result<> print_plugin(const PluginRegistry &registry, const std::string &plugin, PluginsFormat format, std::ostream &out);

}  // namespace trainhost
