#include "training.h"

#include <algorithm>
#include <utility>

#include "vocabulary.h"

namespace {

bool is_letter(uint8_t byte) { return byte >= 0x80 || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'); }

}  // namespace

void WordCounts::add(std::span<const uint8_t> document) {
  for (auto at = document.begin(); at != document.end();) {
    const auto letters = at + (*at == ' ');
    const auto end = std::find_if_not(letters, document.end(), is_letter);
    const std::string_view word(reinterpret_cast<const char *>(&*at), static_cast<size_t>(end - at));
    at = end == letters ? at + 1 : end;
    if (end == letters || word.size() < 2 || word.size() > kLongestWord) continue;
    const auto found = counts_.find(word);  // looked up without a copy: most words are there already
    if (found != counts_.end())
      ++found->second;
    else
      counts_.emplace(word, 1);
  }
}

std::vector<std::string> WordCounts::most_frequent(size_t count, uint64_t fewest) const {
  std::vector<std::pair<std::string_view, uint64_t>> all;
  for (const auto &[word, times] : counts_) {
    if (times >= fewest) all.emplace_back(word, times);
  }
  std::ranges::sort(all, [](const auto &a, const auto &b) { return a.second != b.second ? a.second > b.second : a.first < b.first; });
  all.resize(std::min(all.size(), count));
  std::vector<std::string> words;
  for (const auto &[word, times] : all) words.emplace_back(word);
  return words;
}
