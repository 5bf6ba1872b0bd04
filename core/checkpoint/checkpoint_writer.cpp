// Saving a checkpoint: snapshot, space, write, read back, publish.
#include <algorithm>

#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/shard.h"

namespace trainhost {
namespace {

// A checkpoint that is complete in memory: what is written is fixed to the byte before the first byte is written.
struct PreparedCheckpoint {
  std::vector<Shard> shards;
  CheckpointManifest manifest;
  std::string manifest_text, checksums_text;

  // What it takes on a disk that gives space out in blocks, its directory included.
  uint64_t bytes_needed() const {
    constexpr uint64_t kBlock = 4096;
    const auto blocks = [](uint64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; };
    uint64_t sum = kBlock + blocks(manifest_text.size()) + blocks(checksums_text.size());
    for (const ManifestFile &file : manifest.files) sum += blocks(file.bytes);
    return sum;
  }
};

Result<PreparedCheckpoint> prepare(const CheckpointContents &contents) {
  PreparedCheckpoint prepared;
  TRAINHOST_TRY(prepared.shards, cut_into_shards(contents.tensors));
  prepared.manifest = take_snapshot(contents, prepared.shards);
  TRAINHOST_TRY(prepared.manifest_text, encode_manifest(prepared.manifest));
  prepared.checksums_text = encode_checksums(prepared.manifest, prepared.manifest_text);
  return prepared;
}

Result<> write_text(FileSystem &files, const std::string &path, const std::string &text) {
  TRAINHOST_TRY(const auto file, files.create(path));
  TRAINHOST_CHECK(file->append(text));
  TRAINHOST_CHECK(file->sync());
  return file->close();
}

// Writes everything into a new directory, reads it back and compares it with the snapshot.
Result<> write_directory(FileSystem &files, const std::string &directory, const PreparedCheckpoint &prepared) {
  TRAINHOST_CHECK(files.create_directories(directory));
  for (const Shard &shard : prepared.shards) TRAINHOST_CHECK(write_shard(files, directory + "/" + shard.name, shard));
  TRAINHOST_CHECK(write_text(files, directory + "/" + std::string(manifest::kFileName), prepared.manifest_text));
  TRAINHOST_CHECK(write_text(files, directory + "/" + std::string(manifest::kChecksumsName), prepared.checksums_text));
  TRAINHOST_CHECK(files.sync_directory(directory));
  TRAINHOST_CHECK(read_manifest(files, directory));
  for (const ManifestFile &file : prepared.manifest.files) {
    TRAINHOST_TRY(const auto written, ShardReader::open(files, directory, file, prepared.manifest));
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
  const std::string path = folder_ + "/" + checkpoint_name(contents.step);
  TRAINHOST_TRY(const PreparedCheckpoint prepared, prepare(contents));
  const auto failed = [&](const std::string &reason) {
    const auto free = files_->free_bytes(folder_);
    return failure(ErrorKind::kCheckpointWrite, path + ": the checkpoint was not saved: " + reason + "; it needs " +
                                                    std::to_string(prepared.bytes_needed()) + " bytes, and " +
                                                    (free ? std::to_string(*free) : "an unknown number of") +
                                                    " bytes are free; the earlier checkpoints are as they were");
  };
  if (stands_already(path, prepared.manifest)) {
    last_saved_ = contents.step;
    return path;
  }
  warn_if_unchanged(prepared.manifest);

  const std::string partial = folder_ + "/" + leftover_name(contents.step, Leftover::kPartial);
  if (const auto removed = files_->remove_all(partial); !removed) return failed(removed.error().message);  // of an earlier save that failed
  const auto free = files_->free_bytes(folder_);
  if (!free) return failed(free.error().message);
  if (*free < prepared.bytes_needed()) return failed("there is not enough space");

  auto written = write_directory(*files_, partial, prepared);
  if (written) written = publish(*files_, partial, folder_, contents.step);
  if (!written) {
    save_failed_ = true;
    (void)files_->remove_all(partial);
    return failed(written.error().message);
  }
  last_saved_ = contents.step;
  return path;
}

bool CheckpointDirectory::stands_already(const std::string &path, const CheckpointManifest &manifest) const {
  if (save_failed_ || !files_->exists(path)) return false;
  const auto standing = read_manifest(*files_, path);
  return standing && same_contents(*standing, manifest) && verify(path);
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
