#include "recipe/mistakes.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "recipe/reader.h"

namespace trainhost {

void Mistakes::add(const Position &position, std::string message) {
  errors_.push_back({position, std::move(message)});
  positions_.insert(position);
}

std::string Mistakes::did_you_mean(const std::string &word, const std::vector<std::string> &known, const std::string &quote) const {
  constexpr size_t kTooMany = 100;
  const std::string nearest = errors_.size() < kTooMany ? nearest_name(word, known) : "";
  return nearest.empty() ? "" : "; did you mean " + quote + nearest + quote + "?";
}

std::vector<RecipeError> Mistakes::sorted(const std::vector<std::string> &files) && {
  std::map<std::string, size_t> rank;
  for (const std::string &file : files) rank.emplace(file, rank.size());
  const auto place = [&rank](const RecipeError &error) {
    return std::make_tuple(rank[error.position.file], error.position.line, error.position.column);
  };
  std::stable_sort(errors_.begin(), errors_.end(), [&place](const RecipeError &a, const RecipeError &b) { return place(a) < place(b); });
  const auto same = [](const RecipeError &a, const RecipeError &b) { return a.position == b.position && a.message == b.message; };
  errors_.erase(std::unique(errors_.begin(), errors_.end(), same), errors_.end());
  return std::move(errors_);
}

}  // namespace trainhost
