// Where prepared data is kept: folders named by a key, each made once and whole.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "base/file_system.h"
#include "base/status.h"

namespace trainhost {

// <folder>/<kind>/<key>/ are the entries. One is filled under another name and renamed when all its files are durable, so a folder
// that is there is complete. Of several processes that want the same entry one fills it and the others wait. Any thread.
class DataCache {
 public:
  // $TRAINHOST_CACHE, or .cache beside the run directories.
  static std::string default_folder(const std::string &run_directory);

  // `cancelled` (may be null) ends waiting with kStopped.
  DataCache(std::string folder, FileSystem &files, const std::atomic<bool> *cancelled)
      : folder_(std::move(folder)), files_(&files), cancelled_(cancelled) {}

  const std::string &folder() const { return folder_; }

  // The folder of the entry. When it is not there, fill(folder) writes its files; a failure of fill leaves nothing behind.
  using Fill = std::function<Result<>(const std::string &folder)>;
  Result<std::string> entry(const std::string &kind, const std::string &key, const Fill &fill);
  bool has(const std::string &kind, const std::string &key) { return files_->exists(path(kind, key)); }

 private:
  std::string path(const std::string &kind, const std::string &key) const { return folder_ + "/" + kind + "/" + key; }

  std::string folder_;
  FileSystem *files_;
  const std::atomic<bool> *cancelled_;
};

}  // namespace trainhost
