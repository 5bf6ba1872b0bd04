#include "plugin_host/file_identity.h"

namespace trainhost {

FileIdentity identity_of(const struct stat &status) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<uint64_t>(status.st_size),
          .modified_seconds = status.st_mtim.tv_sec,
          .modified_nanoseconds = status.st_mtim.tv_nsec};
}

FileIdentity identity_of(const std::string &path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? identity_of(status) : FileIdentity{};
}

}  // namespace trainhost
