// Lists in one string parameter, as "25%, 50%, 100%".
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

inline std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(' '), end = text.find_last_not_of(' ');
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, end + 1 - begin);
}

// The parts between the commas without the spaces around them; at least one, which may be empty. They point into `text`.
inline std::vector<std::string_view> comma_list(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t comma = std::min(text.find(','), text.size());
    parts.push_back(trimmed(text.substr(0, comma)));
    if (comma == text.size()) return parts;
    text.remove_prefix(comma + 1);
  }
}
