#include "data/file_hashes.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "data/file_lock.h"

namespace trainhost {
namespace {

constexpr int64_t kUncertainNs = 2'000'000'000;

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

FileHashes::FileHashes(std::string index_path, FileSystem &files) : index_path_(std::move(index_path)), files_(&files) { read_index(); }

// "digest size inode time path", one file a line.
void FileHashes::read_index() {
  if (!files_->exists(index_path_)) return;
  const auto contents = files_->read(index_path_);
  if (!contents) return;
  std::istringstream lines(*contents);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    Entry entry;
    std::string path;
    fields >> entry.digest >> entry.stamp.size >> entry.stamp.inode >> entry.stamp.changed_ns;
    if (fields.get() == ' ' && std::getline(fields, path) && entry.digest.size() == 64) known_.try_emplace(path, entry);
  }
}

Result<FileHashes::Stamp> FileHashes::stamp_of(const std::string &path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    return failure(ErrorKind::kData, fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  if (!S_ISREG(status.st_mode)) return failure(ErrorKind::kData, fmt::format("{}: is not a file", path));
  return Stamp{static_cast<uint64_t>(status.st_size), status.st_ino,
               int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

Result<std::string> FileHashes::sha256(const std::string &path) {
  TRAINHOST_TRY(const Stamp stamp, stamp_of(path));
  used_[path] = stamp;
  const auto known = known_.find(path);
  if (known != known_.end() && known->second.stamp == stamp) return known->second.digest;
  TRAINHOST_TRY(const std::string digest, sha256_of_file(path));
  if (now_ns() - stamp.changed_ns > kUncertainNs && path.find('\n') == std::string::npos) {
    known_[path] = {stamp, digest};
    learnt_ = true;
  }
  return digest;
}

Result<> FileHashes::check_unchanged(const std::string &path) const {
  TRAINHOST_TRY(const Stamp stamp, stamp_of(path));
  if (stamp == used_.at(path)) return {};
  return failure(ErrorKind::kData, fmt::format("{}: was changed while it was being prepared; start again when it is complete", path));
}

Result<> FileHashes::save() {
  if (!learnt_) return {};
  TRAINHOST_CHECK(files_->create_directories(std::filesystem::path(index_path_).parent_path().string()));
  TRAINHOST_TRY(const FileLock lock, FileLock::take(index_path_ + ".lock", nullptr));
  read_index();  // what others learnt meanwhile
  std::string text;
  for (const auto &[path, entry] : known_) {
    text += fmt::format("{} {} {} {} {}\n", entry.digest, entry.stamp.size, entry.stamp.inode, entry.stamp.changed_ns, path);
  }
  learnt_ = false;
  return write_atomically(*files_, index_path_, text);
}

}  // namespace trainhost
