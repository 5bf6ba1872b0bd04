#include "data/data_cache.h"

#include <cstdlib>
#include <filesystem>

#include "data/file_lock.h"

namespace trainhost {

std::string DataCache::default_folder(const std::string &run_directory) {
  if (const char *folder = std::getenv("TRAINHOST_CACHE"); folder != nullptr && *folder != '\0')
    return std::filesystem::absolute(folder).string();
  return (std::filesystem::path(run_directory).parent_path() / ".cache").string();
}

Result<std::string> DataCache::entry(const std::string &kind, const std::string &key, const Fill &fill) {
  const std::string entry = path(kind, key), partial = entry + ".partial";
  if (files_->exists(entry)) return entry;
  TRAINHOST_CHECK(files_->create_directories(folder_ + "/" + kind));
  TRAINHOST_CHECK(files_->create_directories(folder_ + "/locks"));
  TRAINHOST_TRY(const FileLock lock, FileLock::take(folder_ + "/locks/" + kind + "-" + key, cancelled_));
  if (files_->exists(entry)) return entry;
  TRAINHOST_CHECK(files_->remove_all(partial));  // of a process that was killed
  TRAINHOST_CHECK(files_->create_directories(partial));
  if (auto filled = fill(partial); !filled) {
    (void)files_->remove_all(partial);  // its own failure says less than fill's
    return tl::unexpected(std::move(filled).error());
  }
  TRAINHOST_CHECK(files_->sync_directory(partial));
  TRAINHOST_CHECK(files_->rename(partial, entry));
  TRAINHOST_CHECK(files_->sync_directory(folder_ + "/" + kind));
  return entry;
}

}  // namespace trainhost
