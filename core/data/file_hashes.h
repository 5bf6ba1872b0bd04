// SHA-256 of input files, remembered from run to run.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/file_system.h"
#include "base/status.h"

namespace trainhost {

// Reading 50 MB at every start only to find it unchanged would take longer than all else, so a small file keeps each digest with what
// the system says of the file: size, time of change and inode. A file changed within the last two seconds is not remembered, as a
// second change could leave its time alone. One thread; processes may share the file.
class FileHashes {
 public:
  // Reads the index if it is there; lines that it does not understand are left out.
  FileHashes(std::string index_path, FileSystem &files);

  // The file's digest, 64 hexadecimal digits. Fails with kData naming the path.
  Result<std::string> sha256(const std::string &path);
  // Fails with kData when the file is not what it was at the last sha256(path).
  Result<> check_unchanged(const std::string &path) const;
  // Writes what was learnt, if anything.
  Result<> save();

 private:
  struct Stamp {
    uint64_t size = 0, inode = 0;
    int64_t changed_ns = 0;
    bool operator==(const Stamp &) const = default;
  };
  struct Entry {
    Stamp stamp;
    std::string digest;
  };
  static Result<Stamp> stamp_of(const std::string &path);
  void read_index();

  std::string index_path_;
  FileSystem *files_;
  std::map<std::string, Entry> known_;
  std::map<std::string, Stamp> used_;
  bool learnt_ = false;
};

}  // namespace trainhost
