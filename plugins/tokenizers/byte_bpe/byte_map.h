// GPT-2's one-to-one map between bytes and printable characters, in which a tokenizer.json spells its tokens: `!`..`~`, U+00A1..U+00AC
// and U+00AE..U+00FF stand for themselves, the other 68 bytes in order for U+0100 and on.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trainhost::byte_bpe {

// The code point that spells each byte.
inline constexpr std::array<uint16_t, 256> kSpelling = [] {
  std::array<uint16_t, 256> spelling{};
  uint16_t next = 0x100;
  for (uint16_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    spelling[byte] = printable ? byte : next++;
  }
  return spelling;
}();

// UTF-8.
std::string spell(std::string_view bytes);
// Nothing when a character is none of the map's.
std::optional<std::string> unspell(std::string_view spelling);

}  // namespace trainhost::byte_bpe
