// Refusals as they are shown.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "plugin_host/manifest.h"
#include "recipe/recipe.h"

namespace trainhost {

// What a plugin's `create` refuses as a mistake of the recipe: the error, kRecipe, of an instance that was to be made with these
// parameters, placed where the parameter stands with whose name the plugin's text begins ("decay is 5 tokens; expected ..."), and otherwise
// at `table`.
RecipeError refusal_in_recipe(const Error &error, const Manifest &manifest, const Parameters &parameters, const Position &table);

// The mistakes as one error (kRecipe), a line for each.
Error joined(const std::vector<RecipeError> &mistakes);

}  // namespace trainhost
