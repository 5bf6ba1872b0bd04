#include "recipe/recipe.h"

namespace trainhost {

std::string to_string(const RecipeError &error) {
  const Position &position = error.position;
  const std::string place = position.line == 0 ? "" : ":" + std::to_string(position.line) + ":" + std::to_string(position.column);
  return position.file + place + ": " + error.message;
}

}  // namespace trainhost
