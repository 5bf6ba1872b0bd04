// A loaded plugin and what an instance of it needs: its library, its parameters, its host table.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "plugin_host/manifest.h"
#include "plugin_host/services/host_services.h"
#include "recipe/token_axis.h"
#include "trainhost/plugin.h"

namespace trainhost {

// One instance's half of the boundary: keeps the library loaded (for ever), owns the th_host and th_config given to the plugin, and
// turns a th_status into an Error that names plugin, version, file and call. Movable only behind its pointer.
class PluginInstance {
 public:
  // Loads the library once per process (RTLD_NOW | RTLD_LOCAL, by absolute path, never unloaded), calls its entry, asks for the
  // kind's table and checks it. Amounts in `parameters` are resolved on `axis`; null where there is none (tokenizers).
  // Errors: kPlugin with the loader's own text, kPluginContract for a bad table.
  static Result<std::unique_ptr<PluginInstance>> create(const Manifest &manifest, const Parameters &parameters, const TokenAxis *axis,
                                                        const PluginEvents &events);
  virtual ~PluginInstance() = default;

  virtual const th_host *host() const = 0;
  virtual const th_config *config() const = 0;
  virtual const void *table() const = 0;
  virtual const Manifest &manifest() const = 0;
  // Success for TH_OK; else an Error "optimizer plugin "adamw" 1.0.0 (/path/adamw.so): update, step 5: <text given to fail>". TH_INVALID
  // from create is the user's mistake (kRecipe), TH_CANCELLED is kStopped, a number that is no th_status kPluginContract, all else
  // kPlugin. On the thread that made the call.
  virtual Result<> check(th_status status, std::string_view call) const = 0;
  // The Error for something that the plugin's contract rules out: the same subject, then `found`; kPluginContract.
  virtual tl::unexpected<Error> broken_contract(std::string_view call, std::string_view found) const = 0;
};

}  // namespace trainhost
