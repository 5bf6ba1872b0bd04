// trainhost-plugin new: a complete project of a plugin, to build on.
#pragma once

#include <iosfwd>
#include <string>

#include "base/command_line.h"

namespace trainhost {

struct NewPlugin {
  std::string kind, name;
  std::string language;  // "c" or "cpp"
};

// Writes the project of this kind's worked example into ./NAME and says what to do next. kUsage for an unknown kind or language, a name
// that cannot be one, and a folder that exists; kUnavailable where the templates are not beside the program.
Result<> new_plugin(const NewPlugin &wanted, std::ostream &out);

Verb new_verb();

}  // namespace trainhost
