// From a recipe file to a recipe that can run.
#pragma once

#include <string>
#include <vector>

#include "app/corpus.h"
#include "base/status.h"

namespace trainhost {

// Reads the recipe, finds its plugins and checks everything that can be checked without touching a device or running plugin code. The
// error (kRecipe) is one line per mistake, all of them. Where mixes depend on the model's size, tokenizer and model are then made, nothing
// of the model but its description, to know it; their errors are those of outline_model.
Result<CheckedRecipe> check_recipe(const std::string &file, const std::vector<std::string> &settings);

}  // namespace trainhost
