// Mistakes that lie between the keys of a recipe, each of which is fine by itself.
#pragma once

#include "recipe/mistakes.h"
#include "recipe/recipe.h"

namespace trainhost {

// What follows from a value that was refused before is not reported on top. `start` is the place of what is missing altogether.
void find_contradictions(const Recipe &recipe, const Position &start, Mistakes &mistakes);

}  // namespace trainhost
