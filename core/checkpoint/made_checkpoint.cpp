#include "checkpoint/made_checkpoint.h"

#include <algorithm>
#include <ctime>
#include <map>

#include "base/hash.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_format.h"
#include "checkpoint/shard.h"

namespace trainhost {
namespace {

struct MadeShard {
  std::string name;
  SafetensorsLayout layout;
};

Result<std::vector<MadeShard>> lay_out(const std::vector<MadeTensor> &tensors) {
  std::vector<SafetensorsTensor> parameters, others;
  for (const MadeTensor &tensor : tensors)
    (tensor.name.starts_with(manifest::kModelPrefix) ? parameters : others)
        .push_back({.name = tensor.name, .dtype = std::string(safetensors::dtype_of(tensor.type)), .shape = tensor.shape});
  std::vector<MadeShard> shards;
  for (auto &[part, contents] : {std::pair(manifest::kModelShard, &parameters), std::pair(manifest::kStateShard, &others)}) {
    if (contents->empty()) continue;
    TRAINHOST_TRY(SafetensorsLayout layout, lay_out_safetensors(std::move(*contents)));
    shards.push_back({.name = shard_name(part), .layout = std::move(layout)});
  }
  return shards;
}

// Writes the files of a checkpoint one after another and notes them in its manifest.
class MadeCheckpointWriter {
 public:
  // in_blocks: whether the manifest's version has a hash for each block of a tensor.
  MadeCheckpointWriter(FileSystem &files, std::string directory, CheckpointManifest &manifest, bool in_blocks, uint64_t total,
                       const WriteProgress &progress)
      : files_(files), directory_(std::move(directory)), manifest_(manifest), in_blocks_(in_blocks), total_(total), progress_(progress) {}

  Result<> write(const MadeShard &shard, const std::map<std::string_view, const MadeTensor *> &tensors) {
    TRAINHOST_TRY(file_, files_.create(directory_ + "/" + shard.name));
    TRAINHOST_CHECK(append(shard.layout.header));
    for (const SafetensorsTensor &tensor : shard.layout.tensors) {
      TRAINHOST_TRY(ManifestTensor written, write(*tensors.at(tensor.name), tensor.end - tensor.begin));
      written.file = shard.name;
      manifest_.tensors.push_back(std::move(written));
    }
    TRAINHOST_CHECK(file_->sync());
    TRAINHOST_CHECK(file_->close());
    manifest_.files.push_back({.name = shard.name, .bytes = shard.layout.file_bytes(), .sha256 = std::exchange(hash_, {}).finish()});
    return {};
  }

 private:
  Result<ManifestTensor> write(const MadeTensor &made, uint64_t bytes) {
    const uint64_t each = bytes_per_element(made.type), block = in_blocks_ ? manifest::kBlockElements * each : bytes;
    ManifestTensor written{
        .piece = {.name = made.name, .type = made.type, .shape = made.shape, .begin = 0, .count = bytes / each}, .file = {}, .sha256 = {}};
    Sha256 hash;
    uint64_t done = 0;
    TRAINHOST_CHECK(for_each_part(bytes, made.read(), [&](std::span<const std::byte> part) -> Result<> {
      if (done > 0 && done % block == 0) written.sha256.push_back(std::exchange(hash, {}).finish());  // a block is whole parts
      hash.update(part);
      done += part.size();
      return append({reinterpret_cast<const char *>(part.data()), part.size()});
    }));
    written.sha256.push_back(hash.finish());
    return written;
  }

  Result<> append(std::string_view bytes) {
    hash_.update(bytes);
    TRAINHOST_CHECK(file_->append(bytes));
    progress_(done_ += bytes.size(), total_);
    return {};
  }

  FileSystem &files_;
  const std::string directory_;
  CheckpointManifest &manifest_;
  const bool in_blocks_;
  const uint64_t total_;
  const WriteProgress &progress_;
  std::unique_ptr<WritableFile> file_;
  Sha256 hash_;  // of the file so far
  uint64_t done_ = 0;
};

Result<> read_back(FileSystem &files, const std::string &directory, const CheckpointManifest &expected) {
  TRAINHOST_TRY(const CheckpointManifest manifest, read_manifest(files, directory));
  if (manifest != expected) return failure(ErrorKind::kCheckpointWrite, directory + ": its manifest is not the one that was written");
  for (const ManifestFile &file : manifest.files) {
    TRAINHOST_TRY(const auto written, ShardReader::open(files, directory, file, manifest));
    TRAINHOST_CHECK(written.verify());
  }
  return {};
}

}  // namespace

Result<CheckpointManifest> write_made_checkpoint(FileSystem &files, const std::string &folder, CheckpointManifest description,
                                                 const std::vector<MadeTensor> &tensors, const WriteProgress &progress) {
  CheckpointManifest manifest = std::move(description);
  manifest.created = static_cast<uint64_t>(std::max<std::time_t>(std::time(nullptr), 0));
  manifest.world_size = 1;
  manifest.files.clear();
  manifest.tensors.clear();

  TRAINHOST_TRY(const auto shards, lay_out(tensors));
  uint64_t bytes = 0;
  for (const MadeShard &shard : shards) bytes += shard.layout.file_bytes();
  TRAINHOST_TRY(const uint64_t free, files.free_bytes(folder));
  if (free < bytes) {
    return failure(ErrorKind::kCheckpointWrite,
                   folder + ": needs " + std::to_string(bytes) + " bytes, and " + std::to_string(free) + " are free");
  }

  std::map<std::string_view, const MadeTensor *> by_name;
  for (const MadeTensor &tensor : tensors) by_name[tensor.name] = &tensor;
  const std::string directory = folder + "/" + checkpoint_name(manifest.step);
  TRAINHOST_CHECK(files.create_directories(directory));
  const bool in_blocks = !std::ranges::all_of(tensors, [](const auto &tensor) { return tensor.type == ElementType::kFloat32; });
  MadeCheckpointWriter writer(files, directory, manifest, in_blocks, bytes, progress);
  for (const MadeShard &shard : shards) TRAINHOST_CHECK(writer.write(shard, by_name));
  TRAINHOST_TRY(const std::string text, encode_manifest(manifest));
  TRAINHOST_CHECK(write_atomically(files, directory + "/" + std::string(manifest::kFileName), text));
  TRAINHOST_CHECK(write_atomically(files, directory + "/" + std::string(manifest::kChecksumsName), encode_checksums(manifest, text)));
  TRAINHOST_CHECK(files.sync_directory(folder));
  TRAINHOST_CHECK(read_back(files, directory, manifest));
  return manifest;
}

}  // namespace trainhost
