// One process at a time in a run directory.
#pragma once

#include <string>

#include "base/status.h"

namespace trainhost {

// Held while a process works in a run directory, and let go by the system when that process ends, however it ends. Fails with
// kUnavailable naming the process and machine that holds it. It is an flock(2) on RUN/.lock, so it holds across machines as far as the
// file system carries those.
class RunLock {
 public:
  static Result<RunLock> acquire(const std::string &run_directory);
  RunLock(RunLock &&other) noexcept;
  RunLock &operator=(RunLock &&other) noexcept;
  ~RunLock();

 private:
  explicit RunLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace trainhost
