// A safetensors file of a checkpoint, while it is still in memory and once it is on disk.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"

namespace trainhost {

// kInternal when the values do not fit the shape.
Result<> check_tensor(const NamedTensor &tensor);

// Which tensors go into which file, and where. The tensors' bytes stay where they are.
struct Shard {
  std::string name;
  SafetensorsLayout layout;
  std::vector<const NamedTensor *> tensors;  // in the order of the layout
};

// Parameters go into one shard and all else into another; a shard without tensors is left out. kInternal for tensors that cannot be
// written, such as two of one name or one whose shape does not fit its values.
Result<std::vector<Shard>> cut_into_shards(std::span<const NamedTensor> tensors);

// The manifest of what the memory holds now: nothing that is written later can differ from it unnoticed. Reads all tensors twice.
CheckpointManifest take_snapshot(const CheckpointContents &contents, std::span<const Shard> shards);

// Writes the file from the tensors' own memory and makes its contents durable.
Result<> write_shard(FileSystem &files, const std::string &path, const Shard &shard);

// A file of a checkpoint opened for reading. What is verified and what is read afterwards come from the same open file.
class ShardReader {
 public:
  // Compares the size and reads the header; the tensors in it must be exactly those that the manifest names for this file. kData names
  // the path, here and below.
  static Result<ShardReader> open(FileSystem &files, const std::string &directory, const ManifestFile &expected,
                                  const CheckpointManifest &manifest);

  // Reads the file in pieces and compares the SHA-256.
  Result<> verify() const;

  // One per tensor, in the order of the manifest.
  const std::vector<SafetensorsTensor> &tensors() const { return layout_.tensors; }

  // Fills `out`, of the tensor's size, and compares the tensor's SHA-256.
  Result<> read(size_t tensor, std::span<std::byte> out) const;
  // The comparison alone, in pieces.
  Result<> verify(size_t tensor) const;

 private:
  Result<> compare(size_t tensor, const std::string &sha256) const;

  std::string path_;
  std::unique_ptr<ReadableFile> file_;
  SafetensorsLayout layout_;
  std::string sha256_;                       // of the file, from the manifest
  std::vector<std::string> tensors_sha256_;  // per tensor, from the manifest
};

}  // namespace trainhost
