#include "data/file_lock.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"

namespace trainhost {

Result<FileLock> FileLock::take(const std::string &path, const std::atomic<bool> *cancelled) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return failure(ErrorKind::kUnavailable, fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  FileLock lock(descriptor);
  for (bool told = false; ::flock(descriptor, LOCK_EX | LOCK_NB) != 0; told = true) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return failure(ErrorKind::kUnavailable, fmt::format("{}: cannot be locked: {}", path, std::strerror(errno)));
    if (cancelled != nullptr && *cancelled)
      return failure(ErrorKind::kStopped, "stopped while waiting for another process to prepare the data");
    if (!told) log_info(fmt::format("another process is preparing the same data; waiting for it ({})", path));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return lock;
}

FileLock::FileLock(FileLock &&other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace trainhost
