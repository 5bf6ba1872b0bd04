#include "app/check_recipe.h"

#include "recipe/reader.h"

namespace trainhost {
namespace {

Error joined(const std::vector<RecipeError> &errors) {
  std::string message;
  for (const RecipeError &error : errors) message += (message.empty() ? "" : "\n") + to_string(error);
  return {ErrorKind::kRecipe, std::move(message)};
}

}  // namespace

Result<CheckedRecipe> check_recipe(const std::string &file, const std::vector<std::string> &settings) {
  auto recipe = read_recipe(file, settings);
  if (!recipe) return tl::unexpected(joined(recipe.error()));
  const PluginRegistry registry(PluginRegistry::default_folders());
  auto plugins = resolve_plugins(registry, *recipe);
  if (!plugins) return tl::unexpected(joined(plugins.error()));
  return CheckedRecipe{*std::move(recipe), *std::move(plugins)};
}

}  // namespace trainhost
