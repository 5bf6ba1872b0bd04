// GPT-2's splitting of text into pieces, over which no merge reaches.
#pragma once

#include <cstdint>

namespace trainhost::byte_bpe {

// The end of the piece that begins at `text`, as the pattern
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// matches it there; `end` is the end of the whole text, and text < end. Pieces depend on nothing before them and cover the text
// without gaps. Any bytes: see character_at for invalid UTF-8. In time linear in the piece.
const uint8_t *piece_end(const uint8_t *text, const uint8_t *end);

// A position at or after `from` where a piece certainly begins, whatever is around it, or `end`: before white space after a letter,
// both ASCII. Text cut there splits as the whole does. [begin, end) is the whole text.
const uint8_t *cut_after(const uint8_t *begin, const uint8_t *from, const uint8_t *end);

}  // namespace trainhost::byte_bpe
