// How turns of a conversation become plain text.
#pragma once

#include <span>
#include <string_view>

#include "data/document.h"

namespace trainhost {

enum class Role { kSystem, kUser, kAssistant };

struct Turn {
  Role role;
  std::string_view text;  // without white space at its ends
};

// Fills text and segments of the passage:
//   System: ...\n
//   User: ...\n
//   Assistant: ...\n
// An answer's segment begins with the space after the colon, so a prompt ends in "Assistant:", and includes the line end, which ends
// the turn. With answers_only the other segments do not count in the loss.
void render(std::span<const Turn> turns, bool answers_only, Passage &passage);

}  // namespace trainhost
