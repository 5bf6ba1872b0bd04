// A file system that does what another one does; a test derives from it what it wants to be otherwise.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/file_system.h"

namespace trainhost {

class ForwardingFileSystem : public FileSystem {
 public:
  explicit ForwardingFileSystem(FileSystem &files) : files_(files) {}
  Result<std::unique_ptr<WritableFile>> create(const std::string &path) override { return files_.create(path); }
  Result<> create_directories(const std::string &path) override { return files_.create_directories(path); }
  Result<> rename(const std::string &from, const std::string &to) override { return files_.rename(from, to); }
  Result<> sync_directory(const std::string &path) override { return files_.sync_directory(path); }
  Result<> remove_all(const std::string &path) override { return files_.remove_all(path); }
  Result<std::unique_ptr<ReadableFile>> open(const std::string &path) override { return files_.open(path); }
  Result<std::string> read(const std::string &path) override { return files_.read(path); }
  Result<std::vector<std::string>> list(const std::string &path) override { return files_.list(path); }
  bool exists(const std::string &path) override { return files_.exists(path); }
  bool is_directory(const std::string &path) override { return files_.is_directory(path); }
  Result<uint64_t> free_bytes(const std::string &path) override { return files_.free_bytes(path); }

 private:
  FileSystem &files_;
};

// A disk on which every write takes its time.
class SlowFileSystem final : public ForwardingFileSystem {
 public:
  SlowFileSystem(FileSystem &files, std::chrono::milliseconds delay) : ForwardingFileSystem(files), delay_(delay) {}

  Result<std::unique_ptr<WritableFile>> create(const std::string &path) override {
    TRAINHOST_TRY(auto file, ForwardingFileSystem::create(path));
    return std::make_unique<Writer>(std::move(file), delay_);
  }

 private:
  class Writer final : public WritableFile {
   public:
    Writer(std::unique_ptr<WritableFile> file, std::chrono::milliseconds delay) : file_(std::move(file)), delay_(delay) {}
    // The bytes are taken late, so that whoever changed them in the meantime would be found out.
    Result<> append(std::string_view bytes) override {
      std::this_thread::sleep_for(delay_);
      return file_->append(bytes);
    }
    Result<> sync() override { return file_->sync(); }
    Result<> close() override { return file_->close(); }

   private:
    std::unique_ptr<WritableFile> file_;
    std::chrono::milliseconds delay_;
  };

  std::chrono::milliseconds delay_;
};

// Counts the bytes that are read.
class CountingFileSystem final : public ForwardingFileSystem {
 public:
  using ForwardingFileSystem::ForwardingFileSystem;

  Result<std::unique_ptr<ReadableFile>> open(const std::string &path) override {
    TRAINHOST_TRY(auto file, ForwardingFileSystem::open(path));
    return std::make_unique<Reader>(std::move(file), bytes_read_);
  }
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  class Reader final : public ReadableFile {
   public:
    Reader(std::unique_ptr<ReadableFile> file, std::atomic<uint64_t> &bytes) : file_(std::move(file)), bytes_(bytes) {}
    uint64_t size() const override { return file_->size(); }
    Result<> read(uint64_t offset, std::span<std::byte> out) override {
      bytes_ += out.size();
      return file_->read(offset, out);
    }

   private:
    std::unique_ptr<ReadableFile> file_;
    std::atomic<uint64_t> &bytes_;
  };

  std::atomic<uint64_t> bytes_read_ = 0;
};

}  // namespace trainhost
