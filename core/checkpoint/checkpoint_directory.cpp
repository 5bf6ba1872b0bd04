// Opening, listing and pruning a folder of checkpoints.
#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest.h"
#include "checkpoint/retention.h"
#include "collectives/agreement.h"

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
  info.processes = manifest->world_size;
  info.label = manifest->label;
  info.problem = size_problem(files, directory, *manifest);
  return info;
}

// Oldest first, by number.
Result<std::vector<CheckpointInfo>> look(FileSystem &files, const std::string &folder) {
  TRAINHOST_TRY(const auto names, files.list(folder));
  std::vector<CheckpointInfo> checkpoints;
  for (const std::string &name : names) {
    if (const auto step = step_of(name)) checkpoints.push_back(describe(files, folder + "/" + name, *step));
  }
  std::sort(checkpoints.begin(), checkpoints.end(), [](const auto &a, const auto &b) { return a.step < b.step; });
  return checkpoints;
}

// As one rank tells it to the others. CBOR, because paths and labels need not be UTF-8.
std::string encode(const std::vector<CheckpointInfo> &checkpoints) {
  nlohmann::json list = nlohmann::json::array();
  for (const CheckpointInfo &info : checkpoints)
    list.push_back({info.path, info.step, info.tokens, info.bytes, info.created, info.processes, info.label, info.problem});
  std::string text;
  nlohmann::json::to_cbor(list, text);
  return text;
}

std::vector<CheckpointInfo> decode(const std::string &text) {
  std::vector<CheckpointInfo> checkpoints;
  for (const nlohmann::json &info : nlohmann::json::from_cbor(text))
    checkpoints.push_back({.path = info[0],
                           .step = info[1],
                           .tokens = info[2],
                           .bytes = info[3],
                           .created = info[4],
                           .processes = info[5],
                           .label = info[6],
                           .problem = info[7]});
  return checkpoints;
}

ProcessGroup &alone() {
  static const auto group = single_process();
  return *group;
}

}  // namespace

Result<CheckpointDirectory> CheckpointDirectory::open(FileSystem &files, const std::string &folder, ProcessGroup &group) {
  TRAINHOST_CHECK(agreed_on_first(group, [&]() -> Result<std::string> {
    TRAINHOST_CHECK(create_durably(files, folder));
    // A process that was killed may not have made its last change durable, and nothing may go before what takes its place is.
    TRAINHOST_CHECK(files.sync_directory(folder));
    TRAINHOST_CHECK(CheckpointDirectory(files, folder, alone()).reclaim());
    return "";
  }));
  const bool there = group.rank() == 0 || files.exists(folder);
  TRAINHOST_CHECK(
      agreed(group, there ? Result<>()
                          : failure(ErrorKind::kUnavailable,
                                    folder + ": is not there, although rank 0 made it; all processes " + "need one common folder")));
  return CheckpointDirectory(files, folder, group);
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
  return CheckpointDirectory(files, folder, alone());
}

Result<std::vector<CheckpointInfo>> CheckpointDirectory::list() const {
  TRAINHOST_TRY(const std::string text, agreed_on_first(*group_, [&] { return look(*files_, folder_).map(encode); }));
  return decode(text);
}

Result<> CheckpointDirectory::prune(uint32_t keep, const std::vector<std::string> &always_keep) {
  TRAINHOST_TRY(const auto checkpoints, list());
  std::optional<uint64_t> newest_verified;
  for (auto info = checkpoints.rbegin(); info != checkpoints.rend() && !newest_verified; ++info) {
    if (info->problem.empty() && (info->step == last_saved_ || verify(info->path))) newest_verified = info->step;
  }
  const auto gone = expired(checkpoints, keep, always_keep, newest_verified);
  return agreed(*group_, group_->rank() == 0 ? remove(gone) : Result<>());
}

Result<> CheckpointDirectory::remove(const std::vector<CheckpointInfo> &checkpoints) {
  // Out of sight first, and durably so: an interrupted removal must not look like a damaged checkpoint.
  std::vector<std::string> removed;
  for (const CheckpointInfo &info : checkpoints) {
    removed.push_back(folder_ + "/" + leftover_name(info.step, Leftover::kRemoved));
    TRAINHOST_CHECK(files_->rename(info.path, removed.back()));
  }
  if (!removed.empty()) TRAINHOST_CHECK(files_->sync_directory(folder_));
  for (const std::string &path : removed) TRAINHOST_CHECK(files_->remove_all(path));
  return {};
}

}  // namespace trainhost
