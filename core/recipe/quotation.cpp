#include "recipe/quotation.h"

#include <fmt/format.h>

namespace trainhost {

std::string quotation(std::string_view text) {
  std::string quoted = "\"";
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (character == '"' || character == '\\')
      (quoted += '\\') += character;
    else if (character == '\n')
      quoted += "\\n";
    else if (character == '\t')
      quoted += "\\t";
    else if (byte < 0x20 || byte == 0x7f)
      quoted += fmt::format("\\u{:04X}", byte);
    else
      quoted += character;
  }
  return quoted + '"';
}

std::string short_quotation(std::string_view text) {
  constexpr size_t kShown = 40;
  if (text.size() <= kShown) return quotation(text);
  size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a UTF-8 character
  return quotation(std::string(text.substr(0, end)) + "...");
}

std::string toml_key(const std::string &key) {
  const bool bare =
      !key.empty() && key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string::npos;
  return bare ? key : quotation(key);
}

}  // namespace trainhost
