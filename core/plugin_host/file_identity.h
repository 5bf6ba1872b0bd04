// Tells one file from another that took its place.
#pragma once

#include <cstdint>
#include <string>

#include <sys/stat.h>

namespace trainhost {

// Which file it is, in which state: another one under the same path, or the same one written to, has another identity.
struct FileIdentity {
  uint64_t device = 0, inode = 0, size = 0;
  int64_t modified_seconds = 0, modified_nanoseconds = 0;
  bool operator==(const FileIdentity &) const = default;
};

FileIdentity identity_of(const struct stat &status);
// Of what is under the path now, links followed; that of no file when there is none.
FileIdentity identity_of(const std::string &path);

}  // namespace trainhost
