#include <algorithm>

#include "plugin_host/registry.h"

namespace trainhost {
namespace {

using Errors = std::vector<RecipeError>;

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

  Manifest choose(PluginKind kind, PluginChoice &choice, Parameters Overrides::*overrides = nullptr) {
    auto manifest = registry_.find(kind, choice.plugin);
    if (!manifest) {
      errors_.push_back({choice.position, manifest.error().message});
      return {};
    }
    append(errors_, check_parameters(*manifest, choice.parameters, choice.position));
    if (overrides != nullptr) {
      visit_overrides(recipe_, overrides, [&](Parameters &parameters, const Position &table) {
        append(errors_, check_parameters(*manifest, parameters, table, false));
      });
    }
    return *std::move(manifest);
  }

  // In the order of the file.
  Errors take_errors() {
    std::ranges::stable_sort(
        errors_, {}, [](const RecipeError &error) { return std::tie(error.position.file, error.position.line, error.position.column); });
    return std::move(errors_);
  }

 private:
  const PluginRegistry &registry_;
  Recipe &recipe_;
  Errors errors_;
};

}  // namespace

tl::expected<RecipePlugins, std::vector<RecipeError>> resolve_plugins(const PluginRegistry &registry, Recipe &recipe) {
  Resolution resolution(registry, recipe);
  RecipePlugins plugins;
  plugins.tokenizer = resolution.choose(PluginKind::kTokenizer, recipe.tokenizer);
  plugins.model = resolution.choose(PluginKind::kModel, recipe.model);
  plugins.optimizer = resolution.choose(PluginKind::kOptimizer, recipe.optimizer, &Overrides::optimizer);
  plugins.schedule = resolution.choose(PluginKind::kLrScheduler, recipe.schedule, &Overrides::schedule);
  plugins.mixer = resolution.choose(PluginKind::kDatasetMixer, recipe.mixer);
  if (auto errors = resolution.take_errors(); !errors.empty()) return tl::unexpected(std::move(errors));
  return plugins;
}

}  // namespace trainhost
