#include "plugin_host/library.h"

#include <map>
#include <mutex>

#include <dlfcn.h>
#include <fmt/format.h>
#include <boost/dll/shared_library.hpp>

#include "plugin_host/file_identity.h"
#include "plugin_host/kind_table.h"
#include "plugin_host/pinned_copy.h"
#include "plugin_host/plugin_call.h"
#include "plugin_host/services/failure.h"
#include "plugin_host/services/host_services.h"

namespace trainhost {
namespace {

constexpr const char *kEntry = "trainhost_plugin_entry";

class Library {
 public:
  explicit Library(const Manifest &manifest) : host_(manifest.name, {}), plugin_(open(manifest)) {}
  const Result<const th_plugin *> &plugin() const { return plugin_; }

 private:
  Result<const th_plugin *> open(const Manifest &manifest) {
    TRAINHOST_TRY(const std::string path, path_to_load(manifest));
    const PluginCall loading(manifest, "loading it");
    if (manifest.pinned) load_needed_libraries(manifest);
    std::error_code code;
    library_.load(path, code, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
    if (code) {
      const char *reason = dlerror();  // Boost.DLL keeps only a code
      return failure(ErrorKind::kPlugin,
                     fmt::format("{}: cannot be loaded: {}", describe(manifest), reason != nullptr ? reason : code.message()));
    }
    if (!library_.has(kEntry)) {
      return failure(ErrorKind::kPlugin, fmt::format("{}: does not export {}; declare it with TRAINHOST_EXPORT or TRAINHOST_PLUGIN",
                                                     describe(manifest), kEntry));
    }
    return enter(manifest, library_.get<const th_plugin *(const th_host *)>(kEntry));
  }

  // No constructor of another file runs than of the one whose manifest was checked.
  static Result<std::string> path_to_load(const Manifest &manifest) {
    if (manifest.pinned) return pinned_copy(manifest);
    if (identity_of(manifest.path) == manifest.identity) return manifest.path;
    return failure(ErrorKind::kPlugin, describe(manifest) + ": was replaced after it was checked; start again");
  }

  Result<const th_plugin *> enter(const Manifest &manifest, const th_plugin *(&entry)(const th_host *)) {
    const PluginCall call(manifest, kEntry);
    const th_plugin *plugin = entry(&host_);
    if (plugin == nullptr) {
      const std::string reason = take_failure(&host_);
      return failure(ErrorKind::kPlugin,
                     fmt::format("{}: refuses to be used: {}", describe(manifest), reason.empty() ? "it gives no reason" : reason));
    }
    if (plugin->struct_size < sizeof(th_plugin) || plugin->get_kind == nullptr) {
      return failure(ErrorKind::kPluginContract,
                     fmt::format("{}: its th_plugin has {}", describe(manifest),
                                 plugin->struct_size < sizeof(th_plugin)
                                     ? fmt::format("struct_size {}, at least {} is needed", plugin->struct_size, sizeof(th_plugin))
                                     : "null in the required slot \"get_kind\""));
    }
    return plugin;
  }

  HostServices host_;
  boost::dll::shared_library library_;
  Result<const th_plugin *> plugin_;
};

const Library &library_of(const Manifest &manifest) {
  static std::mutex mutex;
  static auto *const libraries = new std::map<std::string, Library>;  // never destroyed: plugins stay loaded until the process ends
  std::lock_guard lock(mutex);
  return libraries->try_emplace(manifest.path, manifest).first->second;
}

}  // namespace

Result<const void *> load_kind_table(const Manifest &manifest) {
  TRAINHOST_TRY(const th_plugin *plugin, library_of(manifest).plugin());
  const std::string_view id = kind_id(manifest.kind);
  const void *table = [&] {
    const PluginCall call(manifest, "get_kind");
    return plugin->get_kind({id.data(), id.size()});
  }();
  TRAINHOST_CHECK(check_table(manifest, table));
  return table;
}

}  // namespace trainhost
