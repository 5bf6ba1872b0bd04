// Text as a TOML string: for the resolved recipe, and for messages that repeat what the user wrote.
#pragma once

#include <string>
#include <string_view>

namespace trainhost {

// In double quotes, with control characters, quotes and backslashes escaped: valid TOML for any UTF-8.
std::string quotation(std::string_view text);
// The same, cut after about 40 bytes at a whole character, with "..." inside the quotes.
std::string short_quotation(std::string_view text);

// Text as a TOML key: bare where that is possible, else quoted.
std::string toml_key(const std::string &key);

}  // namespace trainhost
