// Opening, listing and pruning a folder of checkpoints.
#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest.h"
#include "checkpoint/retention.h"

namespace trainhost {
namespace {

std::string parent_of(const std::string &path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Creates a directory and what is missing above it, each durably.
Result<> create_durably(FileSystem &files, const std::string &folder) {
  std::vector<std::string> above{parent_of(folder)};
  while (!files.exists(above.back()) && parent_of(above.back()) != above.back()) above.push_back(parent_of(above.back()));
  TRAINHOST_CHECK(files.create_directories(folder));
  for (const std::string &path : above) TRAINHOST_CHECK(files.sync_directory(path));
  return {};
}

// What a manifest cannot know: whether its files are there and of their sizes.
std::string size_problem(FileSystem &files, const std::string &directory, const CheckpointManifest &manifest) {
  for (const ManifestFile &expected : manifest.files) {
    const std::string path = directory + "/" + expected.name;
    const auto file = files.open(path);
    if (!file) return file.error().message;
    if ((*file)->size() != expected.bytes) {
      return path + ": has " + std::to_string((*file)->size()) + " bytes, the manifest says " + std::to_string(expected.bytes);
    }
  }
  return {};
}

CheckpointInfo describe(FileSystem &files, const std::string &directory, uint64_t step) {
  CheckpointInfo info;
  info.path = directory;
  info.step = step;
  const auto manifest = read_manifest(files, directory);
  if (!manifest) {
    info.problem = manifest.error().message;
    return info;
  }
  info.tokens = manifest->tokens;
  info.bytes = manifest->bytes();
  info.created = manifest->created;
  info.label = manifest->label;
  info.problem = size_problem(files, directory, *manifest);
  return info;
}

}  // namespace

Result<CheckpointDirectory> CheckpointDirectory::open(FileSystem &files, const std::string &folder) {
  TRAINHOST_CHECK(create_durably(files, folder));
  // A process that was killed may not have made its last change durable, and nothing may go before what takes its place is.
  TRAINHOST_CHECK(files.sync_directory(folder));
  CheckpointDirectory directory(files, folder);
  TRAINHOST_CHECK(directory.reclaim());
  return directory;
}

// Removes what an interrupted save or prune left; but what stepped aside for a checkpoint that is not there, or not whole, is put back.
Result<> CheckpointDirectory::reclaim() {
  TRAINHOST_TRY(const auto names, files_->list(folder_));
  for (const std::string &name : names) {
    const auto leftover = parse_leftover(name);
    if (!leftover || !leftover->abandoned) continue;
    const std::string path = folder_ + "/" + checkpoint_name(leftover->step);
    const auto successor = leftover->kind == Leftover::kReplaced ? verify(path) : Result<>();
    if (!successor && successor.error().kind == ErrorKind::kData) {
      TRAINHOST_CHECK(files_->remove_all(path));
      TRAINHOST_CHECK(files_->rename(folder_ + "/" + name, path));
      TRAINHOST_CHECK(files_->sync_directory(folder_));
    } else {
      TRAINHOST_CHECK(files_->remove_all(folder_ + "/" + name));
    }
  }
  return {};
}

Result<CheckpointDirectory> CheckpointDirectory::view(FileSystem &files, const std::string &folder) {
  TRAINHOST_CHECK(files.list(folder));
  return CheckpointDirectory(files, folder);
}

Result<std::vector<CheckpointInfo>> CheckpointDirectory::list() const {
  TRAINHOST_TRY(const auto names, files_->list(folder_));
  std::vector<CheckpointInfo> checkpoints;
  for (const std::string &name : names) {
    if (const auto step = step_of(name)) checkpoints.push_back(describe(*files_, folder_ + "/" + name, *step));
  }
  std::sort(checkpoints.begin(), checkpoints.end(), [](const auto &a, const auto &b) { return a.step < b.step; });
  return checkpoints;
}

Result<> CheckpointDirectory::prune(uint32_t keep, const std::vector<std::string> &always_keep) {
  TRAINHOST_TRY(const auto checkpoints, list());
  std::optional<uint64_t> newest_verified;
  for (auto info = checkpoints.rbegin(); info != checkpoints.rend() && !newest_verified; ++info) {
    if (info->problem.empty() && (info->step == last_saved_ || verify(info->path))) newest_verified = info->step;
  }
  // Out of sight first, and durably so: an interrupted removal must not look like a damaged checkpoint.
  std::vector<std::string> removed;
  for (const CheckpointInfo &info : expired(checkpoints, keep, always_keep, newest_verified)) {
    removed.push_back(folder_ + "/" + leftover_name(info.step, Leftover::kRemoved));
    TRAINHOST_CHECK(files_->rename(info.path, removed.back()));
  }
  if (!removed.empty()) TRAINHOST_CHECK(files_->sync_directory(folder_));
  for (const std::string &path : removed) TRAINHOST_CHECK(files_->remove_all(path));
  return {};
}

}  // namespace trainhost
