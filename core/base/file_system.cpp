#include "base/file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace trainhost {
namespace {

tl::unexpected<Error> system_failure(ErrorKind kind, const std::string &path, std::string_view action, int code) {
  std::string message = path + ": cannot " + std::string(action) + ": " + std::strerror(code);
  struct statvfs info {};
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if ((code == ENOSPC || code == EDQUOT) && statvfs(folder.empty() ? "." : folder.c_str(), &info) == 0) {
    message += "; " + std::to_string(uint64_t{info.f_bavail} * info.f_frsize) + " bytes are free there";
  }
  return failure(kind, std::move(message));
}

class PosixFile final : public WritableFile {
 public:
  PosixFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  ~PosixFile() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  Result<> append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return system_failure(ErrorKind::kCheckpointWrite, path_, "be written", errno);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return {};
  }

  Result<> sync() override {
    if (::fsync(descriptor_) != 0) return system_failure(ErrorKind::kCheckpointWrite, path_, "be made durable", errno);
    return {};
  }

  Result<> close() override {
    const int descriptor = std::exchange(descriptor_, -1);
    if (::close(descriptor) != 0) return system_failure(ErrorKind::kCheckpointWrite, path_, "be closed", errno);
    return {};
  }

 private:
  std::string path_;
  int descriptor_;
};

class PosixReadableFile final : public ReadableFile {
 public:
  PosixReadableFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  ~PosixReadableFile() override { ::close(descriptor_); }

  // Learns the size; refuses what is not a regular file.
  Result<> inspect() {
    struct stat info {};
    if (::fstat(descriptor_, &info) != 0) return system_failure(ErrorKind::kData, path_, "be examined", errno);
    if (!S_ISREG(info.st_mode)) return failure(ErrorKind::kData, path_ + ": is not a regular file");
    size_ = static_cast<uint64_t>(info.st_size);
    return {};
  }

  uint64_t size() const override { return size_; }

  Result<> read(uint64_t offset, std::span<std::byte> out) override {
    while (!out.empty()) {
      const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return system_failure(ErrorKind::kData, path_, "be read", errno);
      if (got == 0) return failure(ErrorKind::kData, path_ + ": ends at byte " + std::to_string(offset) + ", where more was expected");
      offset += static_cast<uint64_t>(got);
      out = out.subspan(static_cast<size_t>(got));
    }
    return {};
  }

 private:
  std::string path_;
  int descriptor_;
  uint64_t size_ = 0;
};

class PosixFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<WritableFile>> create(const std::string &path) override {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor < 0) return system_failure(ErrorKind::kCheckpointWrite, path, "be created", errno);
    return std::make_unique<PosixFile>(path, descriptor);
  }

  Result<> create_directories(const std::string &path) override {
    std::error_code code;
    std::filesystem::create_directories(path, code);
    if (code) return system_failure(ErrorKind::kCheckpointWrite, path, "be created", code.value());
    return {};
  }

  Result<> rename(const std::string &from, const std::string &to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return system_failure(ErrorKind::kCheckpointWrite, to, "take the place of " + from, errno);
    return {};
  }

  Result<> sync_directory(const std::string &path) override {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return system_failure(ErrorKind::kCheckpointWrite, path, "be opened", errno);
    const int code = ::fsync(descriptor) == 0 ? 0 : errno;
    ::close(descriptor);
    if (code != 0) return system_failure(ErrorKind::kCheckpointWrite, path, "be made durable", code);
    return {};
  }

  Result<> remove_all(const std::string &path) override {
    std::error_code code;
    std::filesystem::remove_all(path, code);
    if (code) return system_failure(ErrorKind::kCheckpointWrite, path, "be removed", code.value());
    return {};
  }

  Result<std::unique_ptr<ReadableFile>> open(const std::string &path) override {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0 && errno == ELOOP) return failure(ErrorKind::kData, path + ": is a symbolic link, which is not followed here");
    if (descriptor < 0) return system_failure(ErrorKind::kData, path, "be opened", errno);
    auto file = std::make_unique<PosixReadableFile>(path, descriptor);
    TRAINHOST_CHECK(file->inspect());
    return file;
  }

  Result<std::string> read(const std::string &path) override {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return system_failure(ErrorKind::kData, path, "be opened", errno);
    std::string contents;
    char piece[1 << 16];
    ssize_t got = 0;
    while ((got = ::read(descriptor, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR)) {
      if (got > 0) contents.append(piece, static_cast<size_t>(got));
    }
    const int code = errno;
    ::close(descriptor);
    if (got < 0) return system_failure(ErrorKind::kData, path, "be read", code);
    return contents;
  }

  Result<std::vector<std::string>> list(const std::string &path) override {
    std::error_code code;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator entry(path, code), end; !code && entry != end; entry.increment(code)) {
      names.push_back(entry->path().filename().string());
    }
    if (code) return system_failure(ErrorKind::kData, path, "be listed", code.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  bool exists(const std::string &path) override {
    std::error_code code;
    return std::filesystem::exists(path, code);
  }

  bool is_directory(const std::string &path) override {
    std::error_code code;
    return std::filesystem::is_directory(std::filesystem::symlink_status(path, code));
  }

  Result<uint64_t> free_bytes(const std::string &path) override {
    struct statvfs info {};
    if (statvfs(path.c_str(), &info) != 0) return system_failure(ErrorKind::kData, path, "be asked for its free space", errno);
    return uint64_t{info.f_bavail} * info.f_frsize;
  }
};

}  // namespace

FileSystem &posix_file_system() {
  static PosixFileSystem files;
  return files;
}

Result<> write_atomically(FileSystem &files, const std::string &path, std::string_view contents) {
  const std::string temporary = path + ".partial";
  TRAINHOST_TRY(auto file, files.create(temporary));
  TRAINHOST_CHECK(file->append(contents));
  TRAINHOST_CHECK(file->sync());
  TRAINHOST_CHECK(file->close());
  TRAINHOST_CHECK(files.rename(temporary, path));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return files.sync_directory(folder.empty() ? "." : folder);
}

}  // namespace trainhost
