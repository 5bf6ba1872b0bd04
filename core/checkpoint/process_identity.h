// Which process on which machine, as it stands in lock files and in the names of unfinished directories.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace trainhost {

struct ProcessIdentity {
  pid_t id = 0;
  std::string host;

  std::string text() const { return std::to_string(id) + "@" + host; }
  // The inverse of text(); nullopt for anything else.
  static std::optional<ProcessIdentity> parse(std::string_view text);
};

ProcessIdentity this_process();

}  // namespace trainhost
