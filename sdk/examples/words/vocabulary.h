// Ids and what they spell: 0 to 255 the bytes, 256 the end of a document, from 257 on words, the most frequent first.
//
// As bytes, which is the tokenizer's state:
//
//   offset    size
//   0         8      "words/1\n"
//   8         4      number of words, little-endian
//   12        ...    each word, in the order of ids: its length in one byte, 2 to kLongestWord, then its bytes
//   end - 8   8      FNV-1a of all bytes before, little-endian
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

inline constexpr uint32_t kEnd = 256, kFirstWord = 257;
inline constexpr size_t kLongestWord = 32;  // bytes, with the space before it

class Vocabulary {
 public:
  // Of different words of 2 to kLongestWord bytes each.
  explicit Vocabulary(std::vector<std::string> words);

  // From a state; an empty one has no words. Throws trainhost::sdk::Failure with TH_CORRUPT, which says what is wrong with it.
  static Vocabulary from_state(std::span<const uint8_t> state);
  std::string to_state() const;

  uint32_t size() const { return kFirstWord + static_cast<uint32_t>(words_.size()); }
  // What an id below size() spells; nothing for kEnd.
  std::string_view spelling(uint32_t id) const;

  struct Match {
    uint32_t id;
    size_t length;  // in bytes, at least 1
  };
  // The longest spelling that the text begins with; the text is not empty.
  Match longest_match(std::span<const uint8_t> text) const;

 private:
  std::vector<std::string> words_;
  std::vector<uint32_t> sorted_;  // indices into words_, in the order of their bytes
};

// Fowler, Noll and Vo's hash of 64 bits, variant 1a, going on from `hash`.
uint64_t fnv1a(std::span<const uint8_t> bytes, uint64_t hash = 0xCBF29CE484222325);
