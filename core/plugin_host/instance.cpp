#include "plugin_host/instance.h"

#include <fmt/format.h>

#include "plugin_host/library.h"
#include "plugin_host/plugin_call.h"
#include "plugin_host/services/config.h"
#include "plugin_host/services/failure.h"

namespace trainhost {
namespace {

std::string_view name_of(th_status status) {
  static constexpr std::string_view kNames[] = {"TH_OK",        "TH_INVALID", "TH_UNSUPPORTED", "TH_OUT_OF_MEMORY",
                                                "TH_CANCELLED", "TH_CORRUPT", "TH_DEVICE_LOST", "TH_INTERNAL"};
  return status >= 0 && static_cast<size_t>(status) < std::size(kNames) ? kNames[status] : std::string_view();
}

ErrorKind kind_of(th_status status, std::string_view call) {
  if (status == TH_INVALID && call == "create") return ErrorKind::kRecipe;
  return status == TH_CANCELLED ? ErrorKind::kStopped : ErrorKind::kPlugin;
}

class LoadedInstance final : public PluginInstance {
 public:
  LoadedInstance(const Manifest &manifest, const void *table, th_config config, const PluginEvents &events)
      : manifest_(manifest), table_(table), host_(manifest.name, events), config_(std::move(config)) {
    config_.host = &host_;
  }

  const th_host *host() const override { return &host_; }
  const th_config *config() const override { return &config_; }
  const void *table() const override { return table_; }
  const Manifest &manifest() const override { return manifest_; }

  Result<> check(th_status status, std::string_view call) const override {
    const std::string text = take_failure(&host_, status);
    if (status == TH_OK) return {};
    const std::string_view name = name_of(status);
    if (name.empty()) return broken_contract(call, fmt::format("returned {}, which is no th_status", status));
    return failure(kind_of(status, call), said_of(call, text.empty() ? fmt::format("failed with {} and gave no reason", name) : text));
  }

  tl::unexpected<Error> broken_contract(std::string_view call, std::string_view found) const override {
    return failure(ErrorKind::kPluginContract, said_of(call, found));
  }

 private:
  std::string said_of(std::string_view call, std::string_view text) const {
    return fmt::format("{}: {}{}: {}", describe(manifest_), call, PluginStep::text(), text);
  }

  Manifest manifest_;
  const void *table_;
  HostServices host_;
  th_config config_;
};

}  // namespace

Result<std::unique_ptr<PluginInstance>> PluginInstance::create(const Manifest &manifest, const Parameters &parameters,
                                                               const TokenAxis *axis, const PluginEvents &events) {
  TRAINHOST_CHECK(check_compatible(manifest));
  TRAINHOST_TRY(auto config, make_config(manifest, parameters, axis));
  TRAINHOST_TRY(const void *table, load_kind_table(manifest));
  return std::make_unique<LoadedInstance>(manifest, table, std::move(config), events);
}

}  // namespace trainhost
