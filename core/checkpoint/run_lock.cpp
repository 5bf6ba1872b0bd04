#include "checkpoint/run_lock.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "checkpoint/process_identity.h"

namespace trainhost {
namespace {

std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

tl::unexpected<Error> refused(const std::string &run_directory, const std::string &reason) {
  return failure(ErrorKind::kUnavailable, "run directory " + run_directory + " " + reason);
}

// The lock file holds "PID@HOST TIME\n".
tl::unexpected<Error> held(int descriptor, const std::string &run_directory) {
  char contents[512];
  const ssize_t size = ::pread(descriptor, contents, sizeof contents, 0);
  std::string_view text(contents, size > 0 ? static_cast<size_t>(size) : 0);
  if (text.ends_with('\n')) text.remove_suffix(1);
  const size_t space = text.find(' ');
  const auto process = ProcessIdentity::parse(text.substr(0, space));
  if (!process || space == std::string_view::npos) return refused(run_directory, "is in use by another process; wait for it, or stop it");
  return refused(run_directory, "is in use by process " + std::to_string(process->id) + " on " + process->host + " since " +
                                    std::string(text.substr(space + 1)) + "; wait for it, or stop it");
}

}  // namespace

Result<RunLock> RunLock::acquire(const std::string &run_directory) {
  const std::string path = run_directory + "/.lock";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0) return refused(run_directory, "cannot be locked: " + path + " cannot be opened: " + std::strerror(errno));
  RunLock lock(descriptor);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return held(descriptor, run_directory);
    return refused(run_directory, "cannot be locked: " + path + ": " + std::strerror(errno));
  }
  // Who holds it is for people; the lock holds without, so a full disk does not matter.
  const std::string text = this_process().text() + " " + now() + "\n";
  if (::ftruncate(descriptor, 0) == 0) (void)!::pwrite(descriptor, text.data(), text.size(), 0);
  return lock;
}

RunLock::RunLock(RunLock &&other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

RunLock &RunLock::operator=(RunLock &&other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

RunLock::~RunLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace trainhost
