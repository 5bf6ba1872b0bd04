#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/log.h"
#include "plugin_host/registry.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

using Errors = std::vector<RecipeError>;

constexpr size_t kKinds = 5;

void append(Errors &errors, Errors more) { errors.insert(errors.end(), more.begin(), more.end()); }

// The overrides of phases and branches for one plugin.
template <class Visit>
void visit_overrides(Recipe &recipe, Parameters Overrides::*parameters, Visit visit) {
  for (auto &phase : recipe.phases) visit(phase.overrides.*parameters, phase.position);
  for (auto &branch : recipe.branches) visit(branch.overrides.*parameters, branch.position);
}

class Resolution {
 public:
  Resolution(const PluginRegistry &registry, Recipe &recipe) : registry_(registry), recipe_(recipe) {}

  // table: the plugin's in the recipe.
  Manifest choose(PluginKind kind, const std::string &table, PluginChoice &choice, Parameters Overrides::*overrides = nullptr) {
    auto manifest = registry_.find(kind, choice.plugin);
    if (!manifest) {
      errors_.push_back({choice.position, manifest.error().message});
      return {};
    }
    hold_against_pin(*manifest);
    leave_out_unknown(*manifest, table, choice, overrides);
    append(errors_, check_parameters(*manifest, choice.parameters, choice.position));
    if (overrides != nullptr) {
      visit_overrides(recipe_, overrides, [&](Parameters &parameters, const Position &position) {
        append(errors_, check_parameters(*manifest, parameters, position, false));
      });
    }
    return *std::move(manifest);
  }

  // A pin that pins nothing is most likely misspelt, and the plugin meant is not held to anything.
  void refuse_unused_pins() {
    if (ids_.size() < kKinds) return;  // it may be that of a plugin that was not found
    for (const auto &[id, digest] : recipe_.plugins.pins) {
      if (ids_.contains(id)) continue;
      const std::string nearest = nearest_name(id, {ids_.begin(), ids_.end()});
      errors_.push_back({position_of_pin(id), fmt::format("`plugins.pin`: this recipe uses no plugin with the id \"{}\"{}", id,
                                                          nearest.empty() ? fmt::format("; it uses {}", fmt::join(ids_, ", "))
                                                                          : fmt::format("; did you mean \"{}\"?", nearest))});
    }
  }

  // In the order of the file.
  Errors take_errors() {
    std::ranges::stable_sort(
        errors_, {}, [](const RecipeError &error) { return std::tie(error.position.file, error.position.line, error.position.column); });
    return std::move(errors_);
  }

 private:
  Position position_of_pin(const std::string &id) const { return recipe_.given.at("plugins.pin." + id); }

  void hold_against_pin(Manifest &manifest) {
    ids_.insert(manifest.id);
    const auto pin = recipe_.plugins.pins.find(manifest.id);
    if (pin == recipe_.plugins.pins.end()) return;
    manifest.pinned = true;
    if (pin->second == manifest.sha256) return;
    errors_.push_back(
        {position_of_pin(manifest.id),
         fmt::format("`plugins.pin`: the {} has SHA-256 {}, and the recipe pins {}; put the pinned file there, or pin this one",
                     describe(manifest), manifest.sha256, pin->second)});
  }

  // Of two positions the one whose file is laid over the other's has the greater.
  auto layer(const Position &position) const { return std::ranges::find(recipe_.layers, position.file); }

  // Whether what stands at `position` was written for another plugin, which the command line or a file laid over that one replaced.
  bool is_of_a_replaced_plugin(const std::string &table, const Position &position) const {
    const auto chosen = recipe_.given.find(table + ".plugin");
    if (chosen == recipe_.given.end() || position.line == 0) return false;
    return chosen->second.line == 0 || layer(position) < layer(chosen->second);
  }

  // Of the parameters that were written for another plugin this one takes those that it knows.
  void leave_out_unknown(const Manifest &manifest, const std::string &table, PluginChoice &choice, Parameters Overrides::*overrides) {
    std::set<std::string> left_out, files;
    const auto leave_out = [&](Parameters &parameters) {
      std::erase_if(parameters, [&](const auto &entry) {
        const auto &[name, parameter] = entry;
        if (std::ranges::find(manifest.parameters, name, &ParameterSpec::name) != manifest.parameters.end()) return false;
        if (!is_of_a_replaced_plugin(table, parameter.position)) return false;
        left_out.insert(name);
        files.insert(parameter.position.file);
        return true;
      });
    };
    leave_out(choice.parameters);
    if (overrides != nullptr) visit_overrides(recipe_, overrides, [&](Parameters &parameters, const Position &) { leave_out(parameters); });
    if (left_out.empty()) return;
    const bool by_command_line = recipe_.given.at(table + ".plugin").line == 0;
    log(by_command_line ? LogLevel::kWarning : LogLevel::kInfo,
        fmt::format("[{}]: plugin \"{}\" has no {}; what {} says of it is left out", table, manifest.name, fmt::join(left_out, ", "),
                    fmt::join(files, ", ")));
  }

  const PluginRegistry &registry_;
  Recipe &recipe_;
  Errors errors_;
  std::set<std::string> ids_;  // of the plugins that were found
};

}  // namespace

tl::expected<RecipePlugins, std::vector<RecipeError>> resolve_plugins(const PluginRegistry &registry, Recipe &recipe) {
  Resolution resolution(registry, recipe);
  RecipePlugins plugins;
  plugins.tokenizer = resolution.choose(PluginKind::kTokenizer, "tokenizer", recipe.tokenizer);
  plugins.model = resolution.choose(PluginKind::kModel, "model", recipe.model);
  plugins.optimizer = resolution.choose(PluginKind::kOptimizer, "optimizer", recipe.optimizer, &Overrides::optimizer);
  plugins.schedule = resolution.choose(PluginKind::kLrScheduler, "schedule", recipe.schedule, &Overrides::schedule);
  plugins.mixer = resolution.choose(PluginKind::kDatasetMixer, "mixer", recipe.mixer);
  resolution.refuse_unused_pins();
  if (auto errors = resolution.take_errors(); !errors.empty()) return tl::unexpected(std::move(errors));
  return plugins;
}

}  // namespace trainhost
