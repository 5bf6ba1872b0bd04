#include "collectives/control/process_name.h"

#include <unistd.h>

namespace trainhost {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

std::string process_number() { return std::to_string(::getpid()); }

}  // namespace trainhost
