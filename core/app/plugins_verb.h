// `trainhost plugins`: which plugins there are, and what parameters one of them takes.
#pragma once

#include <ostream>
#include <string>

#include "base/status.h"
#include "plugin_host/registry.h"

namespace trainhost {

// Without a name: all plugins by kind and name, then the files that were refused and why. With one: each plugin with that name or id,
// or the one at that path (a name with '/' in it), with its parameters. json: the same facts for programs. Fails with kUsage when there
// is no such plugin, kPlugin when the file is refused.
Result<> print_plugins(const PluginRegistry &registry, const std::string &name, bool json, std::ostream &out);

}  // namespace trainhost
