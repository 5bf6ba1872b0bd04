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

namespace trainhost {

// A float32 tensor in host memory, owned by the caller.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
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
  std::string label;
  std::string problem;  // why it cannot be used; empty: its manifest is sound (contents are verified by load)
};

class CheckpointDirectory {
 public:
  // folder: .../checkpoints. Created when absent; what an interrupted save of ours left is removed.
  static Result<CheckpointDirectory> open(FileSystem &files, const std::string &folder);

  // Saves, verifies by reading back, publishes, announces nothing. Returns the path. On failure the earlier checkpoints are as before
  // and the temporary directory is gone where that was possible; kCheckpointWrite names path, bytes needed and bytes free.
  Result<std::string> save(const CheckpointContents &contents);

  // Removes what retention no longer wants: keeps the newest `keep`, every one whose label is in always_keep, and always the newest
  // verified one.
  Result<> prune(uint32_t keep, const std::vector<std::string> &always_keep);

  // Oldest first, by number.
  Result<std::vector<CheckpointInfo>> list() const;

  // Fills the given tensors (all names and shapes must match) and returns the rest. Every byte is verified before a tensor is
  // touched... see load_newest. kData names file and fault; kRecipe for fingerprints that differ.
  Result<CheckpointContents> load(const std::string &path, std::span<NamedTensor> tensors, const std::optional<Fingerprints> &expected) const;

  // The newest checkpoint that is whole. Each newer one that is not is named in a warning with the steps lost. nullopt when there is
  // none at all; kData when there are some and none is good: never start over in a used directory.
  Result<std::optional<CheckpointContents>> load_newest(std::span<NamedTensor> tensors, const std::optional<Fingerprints> &expected) const;

 private:
  CheckpointDirectory(FileSystem &files, std::string folder) : files_(&files), folder_(std::move(folder)) {}
  FileSystem *files_;
  std::string folder_;
};

// Held while a process works in a run directory. Fails with kUnavailable naming the process and machine that holds it.
class RunLock {
 public:
  static Result<RunLock> acquire(const std::string &run_directory);
  RunLock(RunLock &&other) noexcept;
  RunLock &operator=(RunLock &&other) noexcept;
  ~RunLock();

 private:
  explicit RunLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace trainhost
