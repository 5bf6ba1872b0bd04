// The one narrow way by which everything that must survive is written: so that tests can fail, tear or drop any call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace trainhost {

// A file being written. Destroying it closes it without any promise; what was not synced may be lost at a power cut.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  // Appends all bytes (short writes and EINTR are handled). After a failure the file is worthless.
  virtual Result<> append(std::string_view bytes) = 0;
  // Makes the contents durable. A failed sync must never be tried again on the same file: the kernel may have dropped its pages.
  virtual Result<> sync() = 0;
  virtual Result<> close() = 0;
};

// A regular file being read; its size is taken when it is opened. Any thread.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  virtual uint64_t size() const = 0;
  // Fills `out` with the bytes from `offset` on. A file that ends before is kData.
  virtual Result<> read(uint64_t offset, std::span<std::byte> out) = 0;
};

// Errors are of kind kCheckpointWrite for calls that change something and kData for those that read; they name the path, the
// system's reason and, when space ran out, the bytes that are free. Any thread.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<WritableFile>> create(const std::string &path) = 0;  // truncates what is there
  virtual Result<> create_directories(const std::string &path) = 0;
  virtual Result<> rename(const std::string &from, const std::string &to) = 0;
  virtual Result<> sync_directory(const std::string &path) = 0;  // makes its entries durable
  virtual Result<> remove_all(const std::string &path) = 0;      // absent: success
  // Opens a regular file. A symbolic link, a pipe or a device is refused (kData) without following or waiting for it.
  virtual Result<std::unique_ptr<ReadableFile>> open(const std::string &path) = 0;
  virtual Result<std::string> read(const std::string &path) = 0;
  virtual Result<std::vector<std::string>> list(const std::string &path) = 0;  // names without "." and "..", sorted
  virtual bool exists(const std::string &path) = 0;
  virtual bool is_directory(const std::string &path) = 0;  // false for a symbolic link to one
  virtual Result<uint64_t> free_bytes(const std::string &path) = 0;
};

// The machine's own file system. Lives as long as the process.
FileSystem &posix_file_system();

// Writes a small file so that after a crash either the old or the new contents stand: temporary file, sync, rename, sync of the
// directory.
Result<> write_atomically(FileSystem &files, const std::string &path, std::string_view contents);

}  // namespace trainhost
