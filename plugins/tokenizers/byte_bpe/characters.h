// UTF-8 characters and the four classes that the GPT-2 pattern knows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace trainhost::byte_bpe {

// kOther is what \p{L}, \p{N} and \s leave: punctuation, marks, symbols, controls, unassigned.
enum class CharacterClass : uint8_t { kOther, kLetter, kNumber, kSpace };

struct Character {
  CharacterClass kind;
  uint32_t size;  // bytes, 1 to 4
};

// The classes are those of Unicode 16.0 in Hugging Face tokenizers 0.23.3, for every code point. A byte that is not part of valid UTF-8
// is a character of its own, of class kOther (as U+FFFD is). Reads within [text, end) only, which is not empty.
Character character_at(const uint8_t *text, const uint8_t *end);

// The class of each ASCII byte; 0xFF for the others.
inline constexpr uint8_t kNotAscii = 0xFF;
inline constexpr std::array<uint8_t, 256> kAsciiClasses = [] {
  std::array<uint8_t, 256> classes{};
  for (size_t byte = 0; byte < classes.size(); ++byte) {
    const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
    const bool number = byte >= '0' && byte <= '9';
    const bool space = byte == ' ' || (byte >= '\t' && byte <= '\r');
    const auto kind = letter   ? CharacterClass::kLetter
                      : number ? CharacterClass::kNumber
                      : space  ? CharacterClass::kSpace
                               : CharacterClass::kOther;
    classes[byte] = byte < 0x80 ? static_cast<uint8_t>(kind) : kNotAscii;
  }
  return classes;
}();

}  // namespace trainhost::byte_bpe
