#include "characters.h"

namespace trainhost::byte_bpe {
namespace {

constexpr auto kLetter = CharacterClass::kLetter;
constexpr auto kNumber = CharacterClass::kNumber;
constexpr auto kSpace = CharacterClass::kSpace;

struct Range {
  uint32_t first, last;
  CharacterClass kind;
};

constexpr Range kRanges[] = {
#include "unicode_classes.inc"
};

constexpr uint32_t kFirstWithoutClass = std::end(kRanges)[-1].last + 1;

// One byte per code point: 0.2 MB, of which a text touches the few pages of its scripts.
constexpr std::array<CharacterClass, kFirstWithoutClass> kClasses = [] {
  std::array<CharacterClass, kFirstWithoutClass> classes{};
  for (const Range &range : kRanges) {
    for (uint32_t code_point = range.first; code_point <= range.last; ++code_point) classes[code_point] = range.kind;
  }
  return classes;
}();

CharacterClass class_of(uint32_t code_point) { return code_point < kFirstWithoutClass ? kClasses[code_point] : CharacterClass::kOther; }

bool is_continuation(uint8_t byte) { return (byte & 0xC0) == 0x80; }

}  // namespace

// The well-formed sequences of the Unicode standard, table 3-7: no overlong forms, no surrogates, nothing beyond U+10FFFF.
Character character_at(const uint8_t *text, const uint8_t *end) {
  constexpr Character kInvalid{CharacterClass::kOther, 1};
  const uint32_t lead = text[0];
  if (lead < 0x80) return {static_cast<CharacterClass>(kAsciiClasses[lead]), 1};

  const uint32_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || end - text < static_cast<ptrdiff_t>(size)) return kInvalid;
  uint32_t code_point = lead & (0x7Fu >> size);
  for (uint32_t i = 1; i < size; ++i) {
    if (!is_continuation(text[i])) return kInvalid;
    code_point = code_point << 6 | (text[i] & 0x3Fu);
  }
  if (size == 3 && (code_point < 0x800 || (code_point >= 0xD800 && code_point <= 0xDFFF))) return kInvalid;
  if (size == 4 && (code_point < 0x10000 || code_point > 0x10FFFF)) return kInvalid;
  return {class_of(code_point), size};
}

}  // namespace trainhost::byte_bpe
