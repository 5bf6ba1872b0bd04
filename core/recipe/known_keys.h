// The list of all keys that a recipe can have, but for plugin parameters: "include", "run.tokens", "phase.batch".
#pragma once

#include <set>
#include <string>

namespace trainhost {

std::set<std::string> known_keys();

}  // namespace trainhost
