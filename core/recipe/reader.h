// Reads a recipe file with its includes and command-line settings, and finds all mistakes that need no plugin.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "recipe/recipe.h"

namespace trainhost {

// What was read of a recipe, and every mistake that was found on the way. No recipe: its TOML could not be read at all.
struct RecipeReading {
  std::optional<Recipe> recipe;
  std::vector<RecipeError> mistakes;
};

// settings: "key.path=value" from --set, in order, later ones win; the value is TOML, or a bare word taken as a string. All errors
// at once, in the order of the file. Touches no device and loads no plugin; reads the environment for ${NAME} only.
RecipeReading read_recipe_with_mistakes(const std::string &path, const std::vector<std::string> &settings);
// The recipe when there is no mistake in it, else the mistakes.
tl::expected<Recipe, std::vector<RecipeError>> read_recipe(const std::string &path, const std::vector<std::string> &settings);

// The nearest of `known` to `word` when it is near enough to be a slip of the pen, for "did you mean"; empty when none is.
std::string nearest_name(const std::string &word, const std::vector<std::string> &known);

// "500 steps", "2M tokens", "8Ki tokens", "10%"; the failure says what was found and expected. Suffixes k M G T, Ki Mi Gi.
tl::expected<Amount, std::string> parse_amount(const std::string &text);

// "36M", "1.2 G", "500": a number without a unit, the same suffixes. Nothing when it is not such a number.
std::optional<double> parse_count(const std::string &text);

// "20GiB", "512 MB", "1000B": bytes, the same suffixes. Nothing when it is not such an amount.
std::optional<double> parse_bytes(const std::string &text);

}  // namespace trainhost
