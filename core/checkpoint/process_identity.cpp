#include "checkpoint/process_identity.h"

#include <charconv>
#include <climits>

#include <unistd.h>

namespace trainhost {

std::optional<ProcessIdentity> ProcessIdentity::parse(std::string_view text) {
  const size_t at = text.find('@');
  if (at == std::string_view::npos || at + 1 == text.size()) return std::nullopt;
  ProcessIdentity process{.id = 0, .host = std::string(text.substr(at + 1))};
  const auto [end, code] = std::from_chars(text.data(), text.data() + at, process.id);
  if (code != std::errc() || end != text.data() + at || process.id <= 0) return std::nullopt;
  return process;
}

ProcessIdentity this_process() {
  char name[HOST_NAME_MAX + 1] = "";
  ::gethostname(name, sizeof name - 1);
  return {.id = ::getpid(), .host = name[0] == '\0' ? "localhost" : name};
}

}  // namespace trainhost
