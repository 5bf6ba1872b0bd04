// A plugin, ready for its kind's adapter, in one call.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "plugin_host/instance.h"

namespace trainhost {

// The plugin NAME of the build tree's plugins/ folder, or the one at a path, with the given parameters; all others have their defaults.
// Amounts are resolved on `axis`. Throws std::runtime_error, which fails the test, when the file, its kind or the parameters are not right.
//
//   auto optimizer = *Optimizer::create(plugin_under_test(PluginKind::kOptimizer, "adamw", {{"beta1", 0.8}}));
std::unique_ptr<PluginInstance> plugin_under_test(PluginKind kind, const std::string &name,
                                                  const std::map<std::string, ParameterValue> &parameters = {},
                                                  const TokenAxis *axis = nullptr, const PluginEvents &events = {});

}  // namespace trainhost
