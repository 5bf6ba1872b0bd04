#include "splitter.h"

#include <algorithm>

#include "characters.h"

namespace trainhost::byte_bpe {
namespace {

// The size of 's 't 'm 'd 're 've 'll at the apostrophe `text`; 0 when there is none of them.
size_t contraction_size(const uint8_t *text, const uint8_t *end) {
  if (end - text < 2) return 0;
  const uint8_t first = text[1];
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (end - text < 3) return 0;
  const uint8_t second = text[2];
  return (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l') ? 3 : 0;
}

// The end of the characters of class `kind` from `text` on.
const uint8_t *run_end(const uint8_t *text, const uint8_t *end, CharacterClass kind) {
  while (text < end) {
    if (*text < 0x80) {
      if (kAsciiClasses[*text] != static_cast<uint8_t>(kind)) break;
      ++text;
    } else {
      const Character character = character_at(text, end);
      if (character.kind != kind) break;
      text += character.size;
    }
  }
  return text;
}

// `\s+(?!\S)|\s+`: white space before a word leaves its last character to the word.
const uint8_t *space_end(const uint8_t *text, const uint8_t *end) {
  const uint8_t *last = text;
  const uint8_t *after = text;
  while (after < end) {
    const Character character = character_at(after, end);
    if (character.kind != CharacterClass::kSpace) break;
    last = after;
    after += character.size;
  }
  return after == end || last == text ? after : last;
}

}  // namespace

const uint8_t *piece_end(const uint8_t *text, const uint8_t *end) {
  if (*text == '\'') {
    if (const size_t size = contraction_size(text, end)) return text + size;
  }
  const uint8_t *word = *text == ' ' && text + 1 < end ? text + 1 : text;
  const Character first = character_at(word, end);
  if (first.kind == CharacterClass::kSpace) return space_end(text, end);
  return run_end(word + first.size, end, first.kind);
}

const uint8_t *cut_after(const uint8_t *begin, const uint8_t *from, const uint8_t *end) {
  const auto is = [](uint8_t byte, CharacterClass kind) { return kAsciiClasses[byte] == static_cast<uint8_t>(kind); };
  for (const uint8_t *cut = std::max(from, begin + 1); cut < end; ++cut) {
    if (is(*cut, CharacterClass::kSpace) && is(cut[-1], CharacterClass::kLetter)) return cut;
  }
  return end;
}

}  // namespace trainhost::byte_bpe
