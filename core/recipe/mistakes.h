// The mistakes found in a recipe, gathered so that the user sees all of them at once.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "recipe/recipe.h"

namespace trainhost {

class Mistakes {
 public:
  void add(const Position &position, std::string message);
  bool empty() const { return errors_.empty(); }
  // Whether something was refused there: what follows from it is then not reported on top.
  bool at(const Position &position) const { return positions_.contains(position); }

  // "; did you mean X?" with the nearest of `known` between two `quote`s, or nothing. Nothing either once there are so many mistakes
  // that the file is no recipe: the search is what takes time.
  std::string did_you_mean(const std::string &word, const std::vector<std::string> &known, const std::string &quote = "`") const;

  // Each once, in the order of `files`, then line, then column.
  std::vector<RecipeError> sorted(const std::vector<std::string> &files) &&;

 private:
  std::vector<RecipeError> errors_;
  std::set<Position> positions_;
};

}  // namespace trainhost
