// Which words there are in a text, and how often.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

class WordCounts {
 public:
  // A word is a run of letters, with the space before it where there is one. Letters are those of ASCII and every byte from 0x80 on, hence
  // all of UTF-8 beyond ASCII. Words of one byte, or longer than kLongestWord, are left out.
  void add(std::span<const uint8_t> document);

  // At most `count` words that came at least `fewest` times, the most frequent first; of equally frequent ones the first by its bytes.
  std::vector<std::string> most_frequent(size_t count, uint64_t fewest) const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, uint64_t, Hash, std::equal_to<>> counts_;
};
