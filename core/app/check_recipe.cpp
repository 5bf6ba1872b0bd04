#include "app/check_recipe.h"

#include "app/plugin_watch.h"
#include "app/run_outline.h"
#include "plugin_host/refusal.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

Result<uint64_t> model_size(const CheckedRecipe &checked) {
  const PluginDeadline deadline = watch_plugins(checked.recipe.parallel);
  const TokenAxis axis(checked.recipe);
  TRAINHOST_TRY(const OutlinedModel outlined, outline_model(checked, axis));
  return outlined.model->parameters_without_embeddings();
}

}  // namespace

Result<CheckedRecipe> check_recipe(const std::string &file, const std::vector<std::string> &settings) {
  RecipeReading reading = read_recipe_with_mistakes(file, settings);
  if (!reading.recipe) return tl::unexpected(joined(reading.mistakes));
  const PluginRegistry registry(PluginRegistry::search_path(reading.recipe->plugins.folders));
  auto plugins = resolve_plugins(registry, *reading.recipe);
  if (!plugins) reading.mistakes.insert(reading.mistakes.end(), plugins.error().begin(), plugins.error().end());
  if (!reading.mistakes.empty()) return tl::unexpected(joined(reading.mistakes));
  CheckedRecipe checked{*std::move(reading.recipe), *std::move(plugins)};
  if (has_mix_by_size(checked.recipe)) {
    TRAINHOST_TRY(const uint64_t parameters, model_size(checked));
    checked.settled_mixes = settle_mixes(checked.recipe, parameters);
  }
  return checked;
}

}  // namespace trainhost
