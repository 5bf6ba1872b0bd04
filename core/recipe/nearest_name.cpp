#include <algorithm>
#include <cctype>

#include "recipe/reader.h"

namespace trainhost {
namespace {

constexpr size_t kLongestWord = 100;  // longer ones are no slips, and the distance costs the product of the lengths

std::string lower_case(std::string word) {
  for (char &letter : word) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return word;
}

// Optimal string alignment distance (restricted Damerau-Levenshtein): insertions, deletions, substitutions and swaps of neighbours.
size_t edit_distance(const std::string &a, const std::string &b) {
  std::vector<std::vector<size_t>> distance(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) distance[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) distance[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = distance[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      distance[i][j] = std::min({distance[i - 1][j] + 1, distance[i][j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        distance[i][j] = std::min(distance[i][j], distance[i - 2][j - 2] + 1);
    }
  return distance[a.size()][b.size()];
}

}  // namespace

std::string nearest_name(const std::string &word, const std::vector<std::string> &known) {
  std::string nearest;
  if (word.empty() || word.size() > kLongestWord) return nearest;
  const std::string lower_word = lower_case(word);
  size_t nearest_distance = kLongestWord;
  for (const std::string &name : known) {
    const size_t shorter = std::min(word.size(), name.size()), longer = std::max(word.size(), name.size());
    const size_t allowed = std::max<size_t>(1, longer / 3);
    if (longer > kLongestWord || longer - shorter > allowed) continue;
    const size_t distance = edit_distance(lower_word, lower_case(name));
    // A word of one or two letters shares nothing with a name that differs in one of them.
    if (distance > allowed || (distance > 0 && longer < 3) || distance >= nearest_distance) continue;
    nearest = name;
    nearest_distance = distance;
  }
  return nearest;
}

}  // namespace trainhost
