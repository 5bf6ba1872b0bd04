// A checkpoint that is made of other checkpoints, without training.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/manifest.h"
#include "checkpoint/stored_tensors.h"

namespace trainhost {

// A tensor that comes to be while it is written.
struct MadeTensor {
  std::string name;
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> shape;
  std::function<ElementSource()> read;  // its elements from the first on
};

using WriteProgress = std::function<void(uint64_t done, uint64_t total)>;  // in bytes

// Writes a checkpoint as one process saves it into `folder`, which nobody else may see yet, and reads it back. Its step, tokens, label,
// fingerprints, trainer_state and origin are those of `description`; its memory is that of a few parts of a tensor. Returns its manifest.
// kCheckpointWrite for what cannot be written, with the bytes needed and free when there is too little room; the errors of the tensors'
// sources; kInternal for tensors that no file could hold. A failure may leave a part of it in the folder.
Result<CheckpointManifest> write_made_checkpoint(FileSystem &files, const std::string &folder, CheckpointManifest description,
                                                 const std::vector<MadeTensor> &tensors, const WriteProgress &progress);

}  // namespace trainhost
