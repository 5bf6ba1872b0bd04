// Optional interfaces of plugins, asked for by id.
#pragma once

#include <string_view>

#include "plugin_host/instance.h"
#include "plugin_host/kind_table.h"
#include "plugin_host/plugin_call.h"

namespace trainhost {

// The extension's table, or null when the plugin has none. Fails with kPluginContract when the table is too short for `slot` or has
// null there.
template <class Extension, class Api, class Self, class Slot>
Result<const Extension *> find_extension(const PluginInstance &plugin, const Api *api, const Self *self, std::string_view id,
                                         Slot Extension::*slot) {
  const auto get = optional_slot(api, &Api::get_extension);
  const PluginCall call(plugin.manifest(), "get_extension");
  const auto *extension = get == nullptr ? nullptr : static_cast<const Extension *>(get(self, {id.data(), id.size()}));
  if (extension != nullptr && optional_slot(extension, slot) == nullptr) {
    return plugin.broken_contract("get_extension", "the table of \"" + std::string(id) + "\" is too short or has a null slot");
  }
  return extension;
}

}  // namespace trainhost
