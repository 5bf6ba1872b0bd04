// Saving a checkpoint: snapshot, space, write, read back, publish.
#include <algorithm>

#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/prepared_checkpoint.h"
#include "checkpoint/shard.h"
#include "collectives/agreement.h"

namespace trainhost {
namespace {

// Makes the new directory, if there is room for what goes into it, and returns its path. For rank 0.
Result<std::string> make_room(FileSystem &files, const std::string &folder, const PreparedCheckpoint &prepared) {
  const std::string partial = folder + "/" + leftover_name(prepared.manifest.step, Leftover::kPartial);
  TRAINHOST_CHECK(files.remove_all(partial));  // of an earlier save that failed
  TRAINHOST_TRY(const uint64_t free, files.free_bytes(folder));
  if (free < prepared.bytes_needed()) return failure(ErrorKind::kCheckpointWrite, "there is not enough space");
  TRAINHOST_CHECK(files.create_directories(partial));
  return partial;
}

// For each rank: its own files.
Result<> write_shards(FileSystem &files, const std::string &directory, const PreparedCheckpoint &prepared) {
  for (const Shard &shard : prepared.shards) TRAINHOST_CHECK(write_shard(files, directory + "/" + shard.name, shard));
  return {};
}

Result<> write_text(FileSystem &files, const std::string &path, const std::string &text) {
  TRAINHOST_TRY(const auto file, files.create(path));
  TRAINHOST_CHECK(file->append(text));
  TRAINHOST_CHECK(file->sync());
  return file->close();
}

// The manifest, last of all files. For rank 0.
Result<> write_manifest(FileSystem &files, const std::string &directory, const PreparedCheckpoint &prepared) {
  TRAINHOST_CHECK(write_text(files, directory + "/" + std::string(manifest::kFileName), prepared.manifest_text));
  TRAINHOST_CHECK(write_text(files, directory + "/" + std::string(manifest::kChecksumsName), prepared.checksums_text));
  return files.sync_directory(directory);
}

// Reads a share of the files back and compares them with the snapshot: not a rank's own, where there are others.
Result<> read_back(FileSystem &files, const std::string &directory, const PreparedCheckpoint &prepared, const ProcessGroup &group) {
  TRAINHOST_TRY(const CheckpointManifest manifest, read_manifest(files, directory));
  if (manifest != prepared.manifest) return failure(ErrorKind::kData, directory + ": its manifest is not the one that was written");
  for (size_t i = 0; i < manifest.files.size(); ++i) {
    if ((i + 1) % group.size() != group.rank()) continue;
    TRAINHOST_TRY(const auto written, ShardReader::open(files, directory, manifest.files[i], manifest));
    TRAINHOST_CHECK(written.verify());
  }
  return {};
}

// Gives a finished directory its name. A checkpoint that stands there steps aside first, and `open` puts it back if this is cut off in
// between. A failure takes the name away again, so that a save that was not announced is not found by the next one and taken for done.
Result<> publish(FileSystem &files, const std::string &partial, const std::string &folder, uint64_t step) {
  const std::string path = folder + "/" + checkpoint_name(step);
  const std::string aside = folder + "/" + leftover_name(step, Leftover::kReplaced);
  const bool replaces = files.exists(path);
  if (replaces) TRAINHOST_CHECK(files.rename(path, aside));
  auto published = files.rename(partial, path);
  if (published) {
    published = files.sync_directory(folder);
    if (!published) (void)files.rename(path, partial);
  }
  if (!published) {
    if (replaces) (void)files.rename(aside, path);
    return published;
  }
  if (!replaces) return {};
  if (const auto removed = files.remove_all(aside); !removed) log_warning(removed.error().message);
  return {};
}

bool same_contents(CheckpointManifest a, const CheckpointManifest &b) {
  a.created = b.created;
  return a == b;
}

bool same_tensors(const CheckpointManifest &a, const CheckpointManifest &b) { return !a.tensors.empty() && a.tensors == b.tensors; }

}  // namespace

Result<std::string> CheckpointDirectory::save(const CheckpointContents &contents) {
  TRAINHOST_TRY(const PreparedCheckpoint prepared, prepare_checkpoint(contents, *group_));
  return save(prepared);
}

Result<std::string> CheckpointDirectory::save(const PreparedCheckpoint &prepared) {
  const uint64_t step = prepared.manifest.step;
  const std::string path = folder_ + "/" + checkpoint_name(step);
  TRAINHOST_TRY(const bool stands, stands_already(path, prepared.manifest));
  if (stands) {
    last_saved_ = step;
    return path;
  }
  if (group_->rank() == 0) warn_if_unchanged(prepared.manifest);
  if (const auto written = write(prepared); !written) {
    save_failed_ = true;
    if (group_->rank() == 0) (void)files_->remove_all(folder_ + "/" + leftover_name(step, Leftover::kPartial));
    if (written.error().kind == ErrorKind::kUnavailable) return tl::unexpected(written.error());
    const auto free = files_->free_bytes(folder_);
    return failure(ErrorKind::kCheckpointWrite, path + ": the checkpoint was not saved: " + written.error().message + "; it needs " +
                                                    std::to_string(prepared.bytes_needed()) + " bytes, and " +
                                                    (free ? std::to_string(*free) : "an unknown number of") +
                                                    " bytes are free; the earlier checkpoints are as they were");
  }
  last_saved_ = step;
  return path;
}

// After each step all ranks know whether all of them did it. The rename by rank 0 is the one moment from which on there is a checkpoint.
Result<> CheckpointDirectory::write(const PreparedCheckpoint &prepared) {
  const bool first = group_->rank() == 0;
  TRAINHOST_TRY(const std::string partial, agreed_on_first(*group_, [&] { return make_room(*files_, folder_, prepared); }));
  TRAINHOST_CHECK(agreed(*group_, write_shards(*files_, partial, prepared)));
  TRAINHOST_CHECK(agreed(*group_, first ? write_manifest(*files_, partial, prepared) : Result<>()));
  TRAINHOST_CHECK(agreed(*group_, read_back(*files_, partial, prepared, *group_)));
  return agreed(*group_, first ? publish(*files_, partial, folder_, prepared.manifest.step) : Result<>());
}

Result<bool> CheckpointDirectory::stands_already(const std::string &path, const CheckpointManifest &manifest) const {
  TRAINHOST_TRY(const std::string same, agreed_on_first(*group_, [&]() -> Result<std::string> {
                  if (save_failed_ || !files_->exists(path)) return "";
                  const auto standing = read_manifest(*files_, path);
                  return standing && same_contents(*standing, manifest) ? "same" : "";
                }));
  if (same.empty()) return false;
  const auto verified = verify(path);
  if (!verified && verified.error().kind == ErrorKind::kUnavailable) return tl::unexpected(verified.error());
  return verified.has_value();
}

void CheckpointDirectory::warn_if_unchanged(const CheckpointManifest &manifest) const {
  const auto names = files_->list(folder_);
  if (!names) return;
  std::optional<uint64_t> previous;
  for (const std::string &name : *names) {
    const auto step = step_of(name);
    if (step && *step < manifest.step) previous = std::max(previous.value_or(0), *step);
  }
  if (!previous) return;
  const auto earlier = read_manifest(*files_, folder_ + "/" + checkpoint_name(*previous));
  if (!earlier || !same_tensors(*earlier, manifest)) return;
  log_warning("every tensor at step " + std::to_string(manifest.step) + " is bit for bit that of the checkpoint of step " +
              std::to_string(*previous) + ": nothing was learned in between (learning rate zero or all steps skipped?)");
}

}  // namespace trainhost
