#include "app/check_recipe.h"

#include "plugin_host/refusal.h"
#include "recipe/reader.h"

namespace trainhost {

Result<CheckedRecipe> check_recipe(const std::string &file, const std::vector<std::string> &settings) {
  RecipeReading reading = read_recipe_with_mistakes(file, settings);
  if (!reading.recipe) return tl::unexpected(joined(reading.mistakes));
  const PluginRegistry registry(PluginRegistry::search_path(reading.recipe->plugins.folders));
  auto plugins = resolve_plugins(registry, *reading.recipe);
  if (!plugins) reading.mistakes.insert(reading.mistakes.end(), plugins.error().begin(), plugins.error().end());
  if (!reading.mistakes.empty()) return tl::unexpected(joined(reading.mistakes));
  return CheckedRecipe{*std::move(reading.recipe), *std::move(plugins)};
}

}  // namespace trainhost
