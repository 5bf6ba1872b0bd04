#include "byte_map.h"

namespace trainhost::byte_bpe {
namespace {

constexpr int kNone = -1;
constexpr size_t kCodePoints = 0x100 + 68;  // all code points of the map are below

constexpr std::array<int16_t, kCodePoints> kBytes = [] {
  std::array<int16_t, kCodePoints> bytes{};
  bytes.fill(kNone);
  for (int16_t byte = 0; byte < 256; ++byte) bytes[kSpelling[byte]] = byte;
  return bytes;
}();

}  // namespace

std::string spell(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes) {
    const uint16_t code_point = kSpelling[static_cast<uint8_t>(byte)];
    if (code_point < 0x80) {
      spelling += static_cast<char>(code_point);
    } else {
      spelling += static_cast<char>(0xC0 | code_point >> 6);
      spelling += static_cast<char>(0x80 | (code_point & 0x3F));
    }
  }
  return spelling;
}

std::optional<std::string> unspell(std::string_view spelling) {
  std::string bytes;
  for (size_t i = 0; i < spelling.size(); ++i) {
    size_t code_point = static_cast<uint8_t>(spelling[i]);
    if (code_point >= 0x80) {
      if ((code_point & 0xE0) != 0xC0 || i + 1 == spelling.size()) return std::nullopt;
      code_point = (code_point & 0x1F) << 6 | (static_cast<uint8_t>(spelling[++i]) & 0x3F);
    }
    if (code_point >= kCodePoints || kBytes[code_point] == kNone) return std::nullopt;
    bytes += static_cast<char>(kBytes[code_point]);
  }
  return bytes;
}

}  // namespace trainhost::byte_bpe
