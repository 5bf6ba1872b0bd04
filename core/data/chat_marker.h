// Control tokens of other programs' chat templates in text that is to be plain.
#pragma once

#include <string_view>

namespace trainhost {

// The first one that is spelled out in the text, such as "<|im_start|>"; empty where there is none. A model that reads them as text writes
// them, where a base model is to write plain text.
std::string_view chat_marker(std::string_view text);

}  // namespace trainhost
