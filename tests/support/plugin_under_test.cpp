#include "support/plugin_under_test.h"

#include <stdexcept>

namespace trainhost {

std::unique_ptr<PluginInstance> plugin_under_test(PluginKind kind, const std::string &name,
                                                  const std::map<std::string, ParameterValue> &parameters, const TokenAxis *axis,
                                                  const PluginEvents &events) {
  const bool is_path = name.find('/') != std::string::npos;
  const auto manifest = read_manifest(is_path ? name : TRAINHOST_BINARY_DIR "/plugins/" + name + ".so");
  if (!manifest) throw std::runtime_error(manifest.error().message);
  if (manifest->kind != kind) throw std::runtime_error(describe(*manifest) + " is no " + std::string(to_string(kind)));
  Parameters checked;
  for (const auto &[key, value] : parameters) checked[key] = {value, true, {}};
  for (const auto &error : check_parameters(*manifest, checked, {})) throw std::runtime_error(error.message);
  auto plugin = PluginInstance::create(*manifest, checked, axis, events);
  if (!plugin) throw std::runtime_error(plugin.error().message);
  return *std::move(plugin);
}

}  // namespace trainhost
