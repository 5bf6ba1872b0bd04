// Looks into a plugin's file without running anything of it, and says what is wrong with it. The rules are those of sdk/docs/rules.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "plugin_host/manifest.h"
#include "shared_object.h"

namespace trainhost {

enum class Severity { kError, kWarning };  // error: the host refuses it, or it endangers the process
std::string_view to_string(Severity severity);

struct Problem {
  std::string rule;  // "TH-LIB-06"
  Severity severity;
  std::string text, fix;
};

struct Inspection {
  std::string path, sha256;             // absolute; of the whole file
  std::optional<Manifest> manifest;     // when it can be read
  std::optional<SharedObject> library;  // likewise
  std::vector<Problem> problems;        // in the order of their rules

  size_t count(Severity severity) const;
};

// Fails with kData when there is no file that can be read; whatever is in it is a problem of the inspection.
Result<Inspection> inspect_plugin(const std::string &path);

}  // namespace trainhost
