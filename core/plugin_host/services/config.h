// The parameters of one plugin instance as the C ABI shows them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>

#include "base/status.h"
#include "plugin_host/manifest.h"
#include "recipe/token_axis.h"
#include "trainhost/host.h"

// What a th_config pointer points to.
struct th_config {
  struct Amount {
    double tokens;
  };
  using Value = std::variant<bool, int64_t, double, std::string, Amount>;

  const th_host *host = nullptr;  // of the instance, for the texts of failures
  std::optional<trainhost::TokenAxis> axis;
  std::map<std::string, Value, std::less<>> values;
};

namespace trainhost {

// Amounts are resolved on the axis. The parameters have passed check_parameters. Fails with kRecipe on an amount without an axis.
Result<th_config> make_config(const Manifest &manifest, const Parameters &parameters, const TokenAxis *axis);

// The slots of th_host that take a th_config.
void set_config_slots(th_host &table);

}  // namespace trainhost
