// Finds plugins: which files there are, and which of them a name in a recipe means.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "plugin_host/manifest.h"

namespace trainhost {

// Whoever may write a plugin, or the folder that it lies in, may run code as the user. Fails with kPlugin, "path: reason", when that is
// everybody.
Result<> refuse_if_writable_by_others(const std::string &path);

class PluginRegistry {
 public:
  // A folder or a *.so in one that is no usable plugin, and why; the reason begins with the path.
  struct Rejected {
    std::string path, reason;
  };

  // Reads the manifests of all *.so in the folders, in order; the first of a kind and name wins. A missing folder is no error; a folder or
  // file that others may write is refused.
  explicit PluginRegistry(const std::vector<std::string> &folders);

  // Where plugins are looked for: each of `first`, each folder of $TRAINHOST_PLUGIN_PATH (not when the program runs with raised
  // privileges), then the plugins/ folder beside the program's own.
  static std::vector<std::string> search_path(std::vector<std::string> first = {});

  const std::vector<std::string> &folders() const { return folders_; }
  const std::vector<Manifest> &plugins() const { return plugins_; }
  const std::vector<Rejected> &rejected() const { return rejected_; }

  // By shipped name, id or absolute path. Fails with kRecipe: what was looked for and where, the nearest name of that kind, or that
  // it is of another kind, or why the file was rejected.
  Result<Manifest> find(PluginKind kind, const std::string &plugin) const;

 private:
  void add_folder(const std::string &folder);
  void add_file(const std::string &path);
  std::string describe_missing(PluginKind kind, const std::string &plugin) const;

  std::vector<std::string> folders_;
  std::vector<Manifest> plugins_;
  std::vector<Rejected> rejected_;
};

// Looks up the five plugins of the recipe, holds their files against its pins, checks every parameter (of phases and branches too) and
// fills in the defaults. All mistakes at once; empty: the recipe can run.
struct RecipePlugins {
  Manifest tokenizer, model, optimizer, schedule, mixer;
};
tl::expected<RecipePlugins, std::vector<RecipeError>> resolve_plugins(const PluginRegistry &registry, Recipe &recipe);

}  // namespace trainhost
