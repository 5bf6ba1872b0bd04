#include "support/fixture_plugin.h"

#include <stdexcept>

#include "base/file_system.h"

namespace trainhost {

std::string fixture_plugin(const std::string &name) { return TRAINHOST_BINARY_DIR "/tests/plugins/" + name + ".so"; }

std::string altered_plugin(const std::string &name, const std::string &folder, const std::string &from, const std::string &to) {
  if (from.size() != to.size()) throw std::runtime_error("\"" + from + "\" and \"" + to + "\" differ in length");
  auto bytes = posix_file_system().read(fixture_plugin(name));
  if (!bytes) throw std::runtime_error(bytes.error().message);
  if (bytes->find(from) == std::string::npos) throw std::runtime_error(name + " does not contain \"" + from + "\"");
  for (size_t at = 0; (at = bytes->find(from, at)) != std::string::npos; at += to.size()) bytes->replace(at, from.size(), to);
  const std::string path = folder + "/" + name + ".so";
  if (auto written = write_atomically(posix_file_system(), path, *bytes); !written) throw std::runtime_error(written.error().message);
  return path;
}

}  // namespace trainhost
