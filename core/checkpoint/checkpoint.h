// Checkpoints: a directory per step that is either whole or not there. The protocol is in core/docs/checkpoint_format.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/run_lock.h"  // whoever opens a checkpoint directory for writing holds the run's lock

namespace trainhost {

struct CheckpointManifest;

// A float32 tensor in host memory, owned by the caller.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // `values` may be a piece of the tensor: its elements [begin, begin + values.size())
  std::span<float> values;
};

// What identifies the run that a checkpoint belongs to. A difference at resume is refused, naming both.
struct Fingerprints {
  std::string recipe, data, tokenizer;
  std::map<std::string, std::string> plugins;  // kind -> "name version sha256"
  bool operator==(const Fingerprints &) const = default;
};

// Everything of a run at a step boundary. JSON text for the small state that is not tensors (spike window, skipped steps).
struct CheckpointContents {
  uint64_t step = 0, tokens = 0;
  std::string label;  // "end of stable", or empty
  Fingerprints fingerprints;
  std::string trainer_state;
  std::vector<NamedTensor> tensors;  // parameters "model.NAME", states "optimizer.NAME.STATE"
};

// What stands in a run directory's checkpoints/, from its manifest alone.
struct CheckpointInfo {
  std::string path;
  uint64_t step = 0, tokens = 0, bytes = 0;
  uint64_t created = 0;  // seconds since 1970
  std::string label;
  std::string problem;  // why it cannot be used; empty: its manifest is sound (contents are verified by load and verify)
};

// What of a checkpoint is loaded: all tensors, to go on training, or those of the model alone, to use it.
enum class LoadScope { kEverything, kModel };

class CheckpointDirectory {
 public:
  // For the process that trains, which holds the RunLock. folder: .../checkpoints. Created when absent; what an interrupted save or
  // prune left is removed, unless a living process of this machine is at work on it.
  static Result<CheckpointDirectory> open(FileSystem &files, const std::string &folder);
  // For a process that only reads, while another may be training: nothing is created or removed. kData when the folder is absent.
  static Result<CheckpointDirectory> view(FileSystem &files, const std::string &folder);

  // Saves, verifies by reading back, publishes, announces nothing. Returns the path. When an equal, whole checkpoint of the step stands
  // already, that is success; another one of the step is replaced, and is never gone before the new one stands. Warns when no tensor
  // differs from the previous checkpoint's. The tensors must not change during the call; they are not copied. On failure the earlier
  // checkpoints are as before and the temporary directory is gone where that was possible; kCheckpointWrite names path, bytes needed and
  // bytes free; kInternal for contents that no file could hold.
  Result<std::string> save(const CheckpointContents &contents);

  // Removes what retention no longer wants: keeps the newest `keep`, every one whose label is in always_keep, and always the newest
  // verified one.
  Result<> prune(uint32_t keep, const std::vector<std::string> &always_keep);

  // Oldest first, by number.
  Result<std::vector<CheckpointInfo>> list() const;

  // Reads and hashes every byte of the checkpoint at `path`. kData names file and fault.
  Result<> verify(const std::string &path) const;

  // Fills the given tensors, which must be exactly those of the checkpoint in `scope`, and returns the rest (without tensors). Every byte
  // is verified before a tensor is touched, and each tensor again as it arrives. kData names file and fault. kRecipe, with both values, for
  // names, shapes or fingerprints that differ, and for a checkpoint of a newer trainhost. A fingerprint, or kind of plugin, that
  // `expected` leaves empty is not compared.
  Result<CheckpointContents> load(const std::string &path, std::span<NamedTensor> tensors, const Fingerprints &expected,
                                  LoadScope scope = LoadScope::kEverything) const;

  // The newest checkpoint that is whole. Each newer one that is not is named in a warning with the steps lost. nullopt when there is
  // none at all; kData when there are some and none is good: never start over in a used directory. Other failures are as with load: a
  // whole checkpoint that does not fit this run is not stepped over.
  Result<std::optional<CheckpointContents>> load_newest(std::span<NamedTensor> tensors, const Fingerprints &expected,
                                                        LoadScope scope = LoadScope::kEverything) const;

 private:
  CheckpointDirectory(FileSystem &files, std::string folder) : files_(&files), folder_(std::move(folder)) {}
  Result<> reclaim();
  bool stands_already(const std::string &path, const CheckpointManifest &manifest) const;
  void warn_if_unchanged(const CheckpointManifest &manifest) const;

  FileSystem *files_;
  std::string folder_;
  std::optional<uint64_t> last_saved_;  // read back and found right by this object
  bool save_failed_ = false;            // so what stands may not be durable, and is not taken for saved without being written anew
};

}  // namespace trainhost
