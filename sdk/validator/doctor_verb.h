// trainhost-plugin doctor: why a plugin is not found or not loaded, and what to do.
#pragma once

#include "base/command_line.h"

namespace trainhost {

Verb doctor_verb();

}  // namespace trainhost
