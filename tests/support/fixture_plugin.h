// The plugins of tests/fixtures/plugins, as they are or spoilt.
#pragma once

#include <string>

namespace trainhost {

// The path of a built fixture plugin.
std::string fixture_plugin(const std::string &name);

// A copy of it in `folder` in which `from` is replaced by `to`, of the same length, wherever it stands.
std::string altered_plugin(const std::string &name, const std::string &folder, const std::string &from, const std::string &to);

}  // namespace trainhost
