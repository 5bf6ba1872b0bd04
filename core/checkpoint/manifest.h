// What a checkpoint says about itself: manifest.json, and SHA256SUMS beside it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"

namespace trainhost {

struct ManifestFile {
  std::string name;
  uint64_t bytes = 0;
  std::string sha256;
  bool operator==(const ManifestFile &) const = default;
};

struct ManifestTensor {
  std::string name, file;
  std::vector<int64_t> shape;
  std::string sha256;  // of the tensor's bytes in memory when the snapshot was taken
  bool operator==(const ManifestTensor &) const = default;
};

struct CheckpointManifest {
  uint64_t step = 0, tokens = 0;
  uint64_t created = 0;  // seconds since 1970, for people only
  std::string label;
  Fingerprints fingerprints;
  std::string trainer_state;
  std::vector<ManifestFile> files;
  std::vector<ManifestTensor> tensors;  // file by file, in the order of their bytes
  bool operator==(const CheckpointManifest &) const = default;

  uint64_t bytes() const;  // of all files
};

// The text of manifest.json. kInternal when a text in it is not UTF-8.
Result<std::string> encode_manifest(const CheckpointManifest &manifest);
// The text of SHA256SUMS for a manifest and its encoding.
std::string encode_checksums(const CheckpointManifest &manifest, const std::string &manifest_text);

// Reads and checks both files of a checkpoint directory, but no tensor. kData names the file and the fault; kRecipe when a newer
// trainhost wrote the checkpoint, which is whole but cannot be understood here.
Result<CheckpointManifest> read_manifest(FileSystem &files, const std::string &directory);

}  // namespace trainhost
