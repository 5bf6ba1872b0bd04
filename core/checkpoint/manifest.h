// What a checkpoint says about itself: manifest.json, and SHA256SUMS beside it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/piece.h"

namespace trainhost {

struct ManifestFile {
  std::string name;
  uint64_t bytes = 0;
  std::string sha256;
  bool operator==(const ManifestFile &) const = default;
};

// A tensor of a file: a whole one or a piece.
struct ManifestTensor {
  TensorPiece piece;
  std::string file;
  std::vector<std::string> sha256;  // of each block's bytes in memory when the snapshot was taken; at least one
  bool operator==(const ManifestTensor &) const = default;

  // Elements that one hash covers; the last block may be shorter.
  uint64_t block_elements() const { return sha256.size() == 1 ? piece.count : manifest::kBlockElements; }
};

// Of which checkpoints another one was made, when no training made it.
struct CheckpointOrigin {
  struct Part {
    std::string checkpoint;  // its path then
    uint64_t step = 0;
    double weight = 1;
    std::string sha256;  // of its manifest.json
    bool operator==(const Part &) const = default;
  };
  std::string how;  // "mean of 3 checkpoints"; empty: training made it
  std::vector<Part> parts;
  bool operator==(const CheckpointOrigin &) const = default;
};

struct CheckpointManifest {
  uint64_t step = 0, tokens = 0;
  uint64_t created = 0;  // seconds since 1970, for people only
  uint32_t world_size = 1;
  std::string label;
  Fingerprints fingerprints;
  std::string trainer_state;
  CheckpointOrigin origin;
  std::vector<ManifestFile> files;
  std::vector<ManifestTensor> tensors;  // file by file, in the order of their bytes
  bool operator==(const CheckpointManifest &) const = default;

  uint64_t bytes() const;  // of all files
  // The oldest version of the format that can say this.
  uint64_t version() const;
  // Whether the tensors are all there, each once. Returns the fault, or an empty text.
  std::string tiling_fault() const;
};

// "model.safetensors" for the part "model", or "model-00002-of-00004.safetensors" for that of rank 1 of 4.
std::string shard_name(std::string_view part);
std::string shard_name(std::string_view part, uint32_t rank, uint32_t world_size);

// The text of manifest.json. kInternal when a text in it is not UTF-8.
Result<std::string> encode_manifest(const CheckpointManifest &manifest);
// The inverse. kData, beginning with `path`, names the fault; kRecipe for the version of a newer trainhost. Whether the tensors are all
// there is not asked.
Result<CheckpointManifest> decode_manifest(const std::string &text, const std::string &path);
// The text of SHA256SUMS for a manifest and its encoding.
std::string encode_checksums(const CheckpointManifest &manifest, const std::string &manifest_text);

// Reads and checks both files of a checkpoint directory, but no tensor. kData names the file and the fault; kRecipe when a newer
// trainhost wrote the checkpoint, which is whole but cannot be understood here.
Result<CheckpointManifest> read_manifest(FileSystem &files, const std::string &directory);

}  // namespace trainhost
