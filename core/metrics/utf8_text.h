// Text from a model may be cut in the middle of a character; files and terminals want whole ones.
#pragma once

#include <string>
#include <string_view>

namespace trainhost {

// The text with U+FFFD for each piece that is not UTF-8.
std::string valid_utf8(std::string_view text);

// valid_utf8, and control characters other than newline and tab shown as \xNN, so that text cannot steer a terminal.
std::string printable(std::string_view text);

// How many columns printable text without colour takes, every code point counted as one.
size_t columns(std::string_view text);

}  // namespace trainhost
