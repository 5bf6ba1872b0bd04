#include "base/status.h"

namespace trainhost {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return 64;
    case ErrorKind::kData:
      return 65;
    case ErrorKind::kUnavailable:
      return 69;
    case ErrorKind::kPlugin:
      return 70;
    case ErrorKind::kInternal:
      return 71;
    case ErrorKind::kCheckpointWrite:
      return 73;
    case ErrorKind::kStopped:
      return 75;
    case ErrorKind::kPluginContract:
      return 76;
    case ErrorKind::kRecipe:
      return 78;
  }
  return 71;
}

std::optional<ErrorKind> kind_of(int code) {
  for (const ErrorKind kind : {ErrorKind::kUsage, ErrorKind::kData, ErrorKind::kUnavailable, ErrorKind::kPlugin, ErrorKind::kInternal,
                               ErrorKind::kCheckpointWrite, ErrorKind::kStopped, ErrorKind::kPluginContract, ErrorKind::kRecipe}) {
    if (exit_code(kind) == code) return kind;
  }
  return std::nullopt;
}

}  // namespace trainhost
