#include "doctor_verb.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/file_system.h"
#include "base/program.h"
#include "plugin_host/elf_file.h"
#include "plugin_host/library.h"
#include "plugin_host/registry.h"
#include "recipe/reader.h"
#include "trainhost/status.h"
#include "validate/child.h"

namespace options = boost::program_options;

namespace trainhost {
namespace {

using Json = nlohmann::ordered_json;
using validator::Outcome;

constexpr std::chrono::seconds kTimeToLoad{60};
constexpr const char *kNoPlugins =
    "no folder has a plugin: run the trainhost-plugin that is installed beside the program, or name the folder of its plugins in "
    "TRAINHOST_PLUGIN_PATH";

struct Folder {
  std::string path, named_by, state;  // state: "3 plugins", "is not there"
};

// A plugin that was asked for, and what became of it.
struct Finding {
  std::string subject;  // "[schedule] mine", "/opt/plugins/mine.so"
  std::optional<Manifest> manifest;
  std::string problem, fix;  // both empty: it is found and loaded
};

struct Diagnosis {
  std::vector<Folder> folders;
  std::vector<Finding> findings;
  std::vector<std::string> mistakes;  // of the recipe, beside those findings
};

// "problem; fix" as most messages are, in two.
std::pair<std::string, std::string> parted(const std::string &message) {
  const size_t end = std::min(message.rfind("; "), message.size());
  return {message.substr(0, end), end < message.size() ? message.substr(end + 2) : ""};
}

Finding refused(std::string subject, const std::string &message) {
  auto [problem, fix] = parted(message);
  return {std::move(subject), std::nullopt, std::move(problem), std::move(fix)};
}

// ---- The loader's own words, explained

std::string part_after(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  if (at == std::string_view::npos) return "";
  const std::string_view rest = text.substr(at + mark.size());
  return std::string(rest.substr(0, rest.find_first_of(",; ")));
}

std::string part_before(std::string_view text, std::string_view mark) {
  const std::string_view before = text.substr(0, text.find(mark));
  const size_t start = before.rfind(' ');
  return std::string(before.substr(start == std::string_view::npos ? 0 : start + 1));
}

std::string where_the_loader_looks(const Manifest &manifest) {
  const auto file = ElfFile::open(manifest.path);
  const auto folders = file ? file->run_path() : std::vector<std::string>();
  return folders.empty() ? "it has no run path of its own" : fmt::format("its run path is {}", fmt::join(folders, ":"));
}

std::pair<std::string, std::string> explained(const Manifest &manifest, const std::string &loader) {
  constexpr std::string_view kMissingLibrary = ": cannot open shared object file";
  if (loader.find(kMissingLibrary) != std::string::npos) {
    const std::string library = part_before(loader, kMissingLibrary);
    return {fmt::format("it needs {}, which is not found; {}", library, where_the_loader_looks(manifest)),
            fmt::format("install {}, put it into a folder of the run path, or link it statically", library)};
  }
  if (const std::string symbol = part_after(loader, "undefined symbol: "); !symbol.empty()) {
    return {fmt::format("it uses {}, which no library defines that it needs", symbol),
            "link the library that defines it; trainhost_add_plugin() finds such symbols when it links"};
  }
  if (const std::string version = part_after(loader, "version `"); !version.empty()) {
    return {fmt::format("it needs {} of a system library, which this system's is too old for", version.substr(0, version.find('\''))),
            "build it on a system as old as this one, or with -static-libstdc++ -static-libgcc"};
  }
  return {loader, ""};
}

// ---- Looking

Finding load(std::string subject, const Manifest &manifest) {
  Finding finding{std::move(subject), manifest, "", ""};
  const auto attempt = [&]() -> Result<> {
    const auto table = load_kind_table(manifest);
    return table ? Result<>() : tl::unexpected(table.error());
  };
  const Outcome outcome = validator::run_in_child(attempt, kTimeToLoad);
  if (outcome.kind == Outcome::Kind::kPassed) return finding;
  const std::string prefix = describe(manifest) + ": ", loading = "cannot be loaded: ";
  const std::string reason = outcome.text.starts_with(prefix) ? outcome.text.substr(prefix.size()) : outcome.text;
  std::tie(finding.problem, finding.fix) =
      reason.starts_with(loading) ? explained(manifest, reason.substr(loading.size())) : parted(reason);
  return finding;
}

std::vector<Folder> folders_of(const PluginRegistry &registry, size_t of_recipe) {
  std::vector<Folder> folders;
  const std::string own = installation_folder() + "/plugins";
  for (const std::string &path : registry.folders()) {
    const auto count = [&](const auto &files) {
      return std::ranges::count_if(files, [&](const auto &file) { return file.path.starts_with(path + "/"); });
    };
    const auto usable = count(registry.plugins()), rejected = count(registry.rejected());
    const std::string found = fmt::format("{} plugin{}", usable, usable == 1 ? "" : "s");
    folders.push_back({path,
                       folders.size() < of_recipe ? "[plugins] path of the recipe"
                       : path == own              ? "beside this program"
                                                  : "TRAINHOST_PLUGIN_PATH",
                       !posix_file_system().exists(path) ? "is not there"
                       : rejected > 0                    ? fmt::format("{}, {} refused", found, rejected)
                                                         : found});
  }
  return folders;
}

// Everything that is in the folders.
Diagnosis examine_folders() {
  const PluginRegistry registry(PluginRegistry::search_path());
  Diagnosis diagnosis{folders_of(registry, 0), {}, {}};
  for (const Manifest &manifest : registry.plugins()) diagnosis.findings.push_back(load(manifest.path, manifest));
  for (const auto &[path, reason] : registry.rejected()) {
    diagnosis.findings.push_back(refused(path, reason.starts_with(path + ": ") ? reason.substr(path.size() + 2) : reason));
  }
  return diagnosis;
}

// What a recipe names.
Diagnosis examine_recipe(const std::string &file, const std::vector<std::string> &settings) {
  RecipeReading reading = read_recipe_with_mistakes(file, settings);
  Diagnosis diagnosis;
  for (const RecipeError &mistake : reading.mistakes) diagnosis.mistakes.push_back(to_string(mistake));
  if (!reading.recipe) return diagnosis;
  Recipe &recipe = *reading.recipe;
  const PluginRegistry registry(PluginRegistry::search_path(recipe.plugins.folders));
  diagnosis.folders = folders_of(registry, recipe.plugins.folders.size());
  if (registry.plugins().empty()) diagnosis.mistakes.emplace_back(kNoPlugins);
  const std::array tables{
      std::tuple{"tokenizer", PluginKind::kTokenizer, &recipe.tokenizer}, std::tuple{"model", PluginKind::kModel, &recipe.model},
      std::tuple{"optimizer", PluginKind::kOptimizer, &recipe.optimizer},
      std::tuple{"schedule", PluginKind::kLrScheduler, &recipe.schedule}, std::tuple{"mixer", PluginKind::kDatasetMixer, &recipe.mixer}};
  bool all_found = true;
  for (const auto &[table, kind, choice] : tables) {
    const std::string subject = fmt::format("[{}] {}", table, choice->plugin);
    const auto manifest = registry.find(kind, choice->plugin);
    all_found = all_found && manifest;
    diagnosis.findings.push_back(manifest ? load(subject, *manifest) : refused(subject, manifest.error().message));
  }
  if (!all_found) return diagnosis;  // the others' parameters wait until then
  if (const auto plugins = resolve_plugins(registry, recipe); !plugins) {
    for (const RecipeError &mistake : plugins.error()) diagnosis.mistakes.push_back(to_string(mistake));
  }
  return diagnosis;
}

// ---- Printing

std::string abi() { return fmt::format("{}.{}", TRAINHOST_ABI_MAJOR, TRAINHOST_ABI_MINOR); }

void print_text(const Diagnosis &diagnosis, std::ostream &out) {
  out << fmt::format("plugin ABI {}\n", abi());
  if (!diagnosis.folders.empty()) out << "\nfolders, in the order in which they are searched\n";
  for (const auto &[path, named_by, state] : diagnosis.folders) out << fmt::format("  {} ({}): {}\n", path, named_by, state);
  if (!diagnosis.findings.empty()) out << "\nplugins\n";
  for (const auto &[subject, manifest, problem, fix] : diagnosis.findings) {
    out << fmt::format("  {:<7} {}\n", problem.empty() ? "ok" : "FAILED", subject);
    if (manifest) out << fmt::format("          is {}\n", describe(*manifest));
    if (!problem.empty()) out << fmt::format("          {}\n", problem);
    if (!fix.empty()) out << fmt::format("          fix: {}\n", fix);
  }
  if (!diagnosis.mistakes.empty()) out << "\nthe recipe\n";
  for (const std::string &mistake : diagnosis.mistakes) out << fmt::format("  {}\n", mistake);
}

void print_json(const Diagnosis &diagnosis, std::ostream &out) {
  Json document{{"abi", abi()}};
  document["folders"] = Json::array();
  for (const auto &[path, named_by, state] : diagnosis.folders) {
    document["folders"].push_back({{"path", path}, {"named_by", named_by}, {"state", state}});
  }
  document["plugins"] = Json::array();
  for (const auto &[subject, manifest, problem, fix] : diagnosis.findings) {
    document["plugins"].push_back(
        {{"subject", subject}, {"file", manifest ? Json(manifest->path) : Json()}, {"problem", problem}, {"fix", fix}});
  }
  document["mistakes"] = diagnosis.mistakes;
  out << document.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

Result<> print_diagnosis(const Diagnosis &diagnosis, bool json, std::ostream &out) {
  json ? print_json(diagnosis, out) : print_text(diagnosis, out);
  const auto failed = std::ranges::count_if(diagnosis.findings, [](const Finding &finding) { return !finding.problem.empty(); });
  if (failed > 0) {
    return failure(ErrorKind::kPlugin, fmt::format("{} of {} plugins cannot be used", failed, diagnosis.findings.size()));
  }
  if (!diagnosis.mistakes.empty()) return failure(ErrorKind::kRecipe, "the plugins can be used, but the recipe has mistakes");
  return {};
}

}  // namespace

Verb doctor_verb() {
  using Texts = std::vector<std::string>;
  Verb verb{"trainhost-plugin doctor [RECIPE]",
            "say why a plugin is not found or not loaded: those that a recipe names, or all that lie in the folders",
            options::options_description("options"),
            {},
            {}};
  verb.accepted.add_options()("recipe", options::value<std::string>()->default_value(""), "the recipe")(
      "set", options::value<Texts>()->composing()->default_value({}, ""), "KEY=VALUE, as for trainhost; may be repeated")(
      "json", options::bool_switch(), "print JSON");
  verb.positional.add("recipe", 1);
  verb.act = [](const auto &given) -> Result<> {
    const auto recipe = given["recipe"].template as<std::string>();
    const auto settings = given["set"].template as<Texts>();
    if (recipe.empty() && !settings.empty()) return failure(ErrorKind::kUsage, "--set belongs to a recipe; name one");
    return print_diagnosis(recipe.empty() ? examine_folders() : examine_recipe(recipe, settings), given["json"].template as<bool>(),
                           std::cout);
  };
  return verb;
}

}  // namespace trainhost
