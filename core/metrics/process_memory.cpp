#include <sys/resource.h>

#include "metrics/metrics.h"

namespace trainhost {

uint64_t peak_resident_bytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return uint64_t{1024} * static_cast<uint64_t>(usage.ru_maxrss);
}

}  // namespace trainhost
