// `trainhost-plugin validate`: holds a plugin to its contract.
#pragma once

#include "base/command_line.h"

namespace trainhost {

// Checks the file's rules, then, where none is broken, each rule of a running plugin in a process of its own, and prints what came out.
// kPluginContract when a rule is broken; kUsage for an unknown rule or parameter; the errors of reading a manifest.
Verb validate_verb();

}  // namespace trainhost
