#include "plugin_host/registry.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include "base/file_system.h"
#include "base/program.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

// The manifest of a file that this host can use.
Result<Manifest> read_usable(const std::string &path) {
  std::error_code ignored;
  const std::filesystem::path given(path), target = std::filesystem::weakly_canonical(given, ignored);  // of a link, both folders count
  for (const auto &place : {given.parent_path(), target.parent_path(), given}) {
    TRAINHOST_CHECK(refuse_if_writable_by_others(place.string()));
  }
  TRAINHOST_TRY(Manifest manifest, read_manifest(path));
  TRAINHOST_CHECK(check_compatible(manifest));
  return manifest;
}

// The name that a plugin's file most likely has: "wsd" of "wsd.so" and "libwsd.so".
bool is_file_of(const std::string &path, const std::string &name) {
  const std::string stem = std::filesystem::path(path).stem().string();
  return stem == name || stem == "lib" + name;
}

tl::unexpected<Error> not_found(std::string message) { return failure(ErrorKind::kRecipe, std::move(message)); }

std::string article(PluginKind kind) { return kind == PluginKind::kOptimizer ? "an" : kind == PluginKind::kLrScheduler ? "an" : "a"; }

Result<Manifest> of_kind(PluginKind kind, Manifest manifest) {
  if (manifest.kind == kind) return manifest;
  return not_found(fmt::format("\"{}\" ({}) is {} {} plugin, {} {} is needed here", manifest.name, manifest.path, article(manifest.kind),
                               to_string(manifest.kind), article(kind), to_string(kind)));
}

}  // namespace

Result<> refuse_if_writable_by_others(const std::string &path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || (status.st_mode & S_IWOTH) == 0) return {};
  return failure(ErrorKind::kPlugin, path + ": everybody may write to it, so it is not trusted; chmod o-w \"" + path + "\"");
}

PluginRegistry::PluginRegistry(const std::vector<std::string> &folders) : folders_(folders) {
  for (const auto &folder : folders) add_folder(folder);
}

void PluginRegistry::add_folder(const std::string &folder) {
  if (!posix_file_system().exists(folder)) return;
  if (const auto trusted = refuse_if_writable_by_others(folder); !trusted) return rejected_.push_back({folder, trusted.error().message});
  const auto names = posix_file_system().list(folder);
  if (!names) return rejected_.push_back({folder, names.error().message});
  for (const auto &name : *names) {
    if (name.ends_with(".so")) add_file((std::filesystem::path(folder) / name).string());
  }
}

void PluginRegistry::add_file(const std::string &path) {
  auto manifest = read_usable(path);
  if (!manifest) return rejected_.push_back({path, manifest.error().message});
  const auto same =
      std::ranges::find_if(plugins_, [&](const Manifest &other) { return other.kind == manifest->kind && other.name == manifest->name; });
  if (same != plugins_.end()) {
    return rejected_.push_back({path, fmt::format("{}: hidden by {}, which has the same name and comes first", path, same->path)});
  }
  plugins_.push_back(*std::move(manifest));
}

std::vector<std::string> PluginRegistry::search_path(std::vector<std::string> first) {
  std::vector<std::string> folders = std::move(first);
  const char *listed = ::secure_getenv("TRAINHOST_PLUGIN_PATH");
  for (std::string_view rest = listed != nullptr ? listed : ""; !rest.empty();) {
    const size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) folders.push_back(std::filesystem::absolute(rest.substr(0, end)).lexically_normal().string());
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (const std::string folder = installation_folder(); !folder.empty()) folders.push_back(folder + "/plugins");
  return folders;
}

Result<Manifest> PluginRegistry::find(PluginKind kind, const std::string &plugin) const {
  if (plugin.starts_with('/')) {
    auto manifest = read_usable(plugin);
    return manifest ? of_kind(kind, *std::move(manifest)) : not_found(manifest.error().message);
  }
  const auto is_meant = [&](const Manifest &manifest) { return manifest.name == plugin || manifest.id == plugin; };
  for (const auto &manifest : plugins_) {
    if (manifest.kind == kind && is_meant(manifest)) return manifest;
  }
  if (const auto other = std::ranges::find_if(plugins_, is_meant); other != plugins_.end()) return of_kind(kind, *other);
  for (const auto &file : rejected_) {
    if (is_file_of(file.path, plugin))
      return not_found(fmt::format("the {} plugin \"{}\" cannot be used: {}", to_string(kind), plugin, file.reason));
  }
  return not_found(describe_missing(kind, plugin));
}

std::string PluginRegistry::describe_missing(PluginKind kind, const std::string &plugin) const {
  std::vector<std::string> names;
  for (const auto &manifest : plugins_) {
    if (manifest.kind == kind) names.push_back(manifest.name);
  }
  const std::string nearest = nearest_name(plugin, names);
  const std::string hint = !nearest.empty() ? "; did you mean \"" + nearest + "\"?"
                           : names.empty()  ? "; there is no plugin of that kind"
                                            : fmt::format("; there are {}", fmt::join(names, ", "));
  return fmt::format("no {} plugin is called \"{}\"{} (looked in {})", to_string(kind), plugin, hint,
                     folders_.empty() ? "no folder" : fmt::format("{}", fmt::join(folders_, ", ")));
}

}  // namespace trainhost
