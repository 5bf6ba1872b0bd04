// A lock between processes, on a file.
#pragma once

#include <atomic>
#include <string>

#include "base/status.h"

namespace trainhost {

// Held until destroyed, or until the process ends in whatever way. The file stays.
class FileLock {
 public:
  // Waits for whoever holds it, saying so once; `cancelled` (may be null) ends the wait with kStopped. Errors: kUnavailable with the
  // path and the system's reason.
  static Result<FileLock> take(const std::string &path, const std::atomic<bool> *cancelled);
  FileLock(FileLock &&other) noexcept;
  FileLock &operator=(FileLock &&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace trainhost
