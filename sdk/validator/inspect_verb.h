// trainhost-plugin inspect: what a plugin is and what is wrong with its file, without running it.
#pragma once

#include <ostream>

#include "base/command_line.h"

namespace trainhost {

// Prints manifest, exports, needed libraries and problems. Fails with kPluginContract when one of them is an error, and with kData when
// the file cannot be read.
Result<> print_inspection(const std::string &path, bool json, std::ostream &out);

Verb inspect_verb();

}  // namespace trainhost
