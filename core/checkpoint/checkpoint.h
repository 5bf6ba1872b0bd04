// Checkpoints: a directory per step that is either whole or not there. The protocol is in core/docs/checkpoint_format.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/run_lock.h"  // whoever opens a checkpoint directory for writing holds the run's lock
#include "collectives/process_group.h"
#include "tensor/element_span.h"

namespace trainhost {

struct CheckpointManifest;
struct PreparedCheckpoint;

// A tensor in host memory, or a piece of one; owned by the caller. Parameters are float32.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;  // of the whole tensor
  ElementSpan values;          // elements [begin, begin + values.size()) of the row-major whole
  uint64_t begin = 0;
};

// What identifies the run that a checkpoint belongs to. A difference at resume is refused, naming both; but for the schedule and its
// plugin, which have no part in what was trained so far.
struct Fingerprints {
  std::string recipe, schedule, data, tokenizer;
  std::map<std::string, std::string> plugins;  // kind -> "name version sha256"
  bool operator==(const Fingerprints &) const = default;
};

struct FingerprintDifference {
  std::string what, saved, now;  // "recipe", "model plugin"
  bool may_go_on;                // of the schedule
};

// What differs of a saved run and one that would go on with it, the cause before its consequences. What `now` leaves empty is not compared,
// nor a schedule that an early checkpoint does not name.
std::vector<FingerprintDifference> differences(const Fingerprints &saved, const Fingerprints &now);

// Everything of a run at a step boundary, or what one of several processes has of it. JSON text for the small state that is not tensors
// (spike window, skipped steps).
struct CheckpointContents {
  uint64_t step = 0, tokens = 0;
  std::string label;  // "end of stable", or empty
  Fingerprints fingerprints;
  std::string trainer_state;
  std::vector<NamedTensor> tensors;  // those that this process answers for: parameters "model.NAME", states "optimizer.NAME.STATE"
};

// What stands in a run directory's checkpoints/, from its manifest alone.
struct CheckpointInfo {
  std::string path;
  uint64_t step = 0, tokens = 0, bytes = 0;
  uint64_t created = 0;    // seconds since 1970
  uint32_t processes = 1;  // that wrote it
  std::string label;
  std::string problem;  // why it cannot be used; empty: its manifest is sound (contents are verified by load and verify)
};

// What of a checkpoint is loaded: all tensors, to go on training, or those of the model alone, to use it.
enum class LoadScope { kEverything, kModel };

// For one process, or for all of a group: then every method is a collective call, which all ranks make in the same order and which gives
// all the same outcome, whichever of them met it; an error names the rank. What is said of files below is said of the folder that all
// share. kUnavailable when the group loses a rank.
class CheckpointDirectory {
 public:
  // For the processes that train, of which rank 0 holds the RunLock. folder: .../checkpoints. Created when absent; what an interrupted save
  // or prune left is removed, unless a living process of this machine is at work on it. kUnavailable when a rank does not see the folder.
  static Result<CheckpointDirectory> open(FileSystem &files, const std::string &folder, ProcessGroup &group);
  // For a process that only reads, while others may be training: nothing is created or removed. kData when the folder is absent.
  static Result<CheckpointDirectory> view(FileSystem &files, const std::string &folder);

  // Saves, verifies by reading back, publishes, announces nothing. Returns the path. Each rank writes what it is given; together that must
  // be each tensor exactly once. Step, tokens, label, fingerprints and trainer_state are rank 0's. When an equal, whole checkpoint of the
  // step stands already, that is success; another one of the step is replaced, and is never gone before the new one stands. Warns when no
  // tensor differs from the previous checkpoint's. The tensors must not change during the call; they are not copied. On failure the earlier
  // checkpoints are as before and the temporary directory is gone where that was possible; kCheckpointWrite names path, bytes needed and
  // bytes free; kInternal for contents that no file could hold.
  Result<std::string> save(const CheckpointContents &contents);
  // The second half of it, for what was prepared with the same group.
  Result<std::string> save(const PreparedCheckpoint &prepared);

  // Removes what retention no longer wants: keeps the newest `keep`, every one whose label is in always_keep, and always the newest
  // verified one.
  Result<> prune(uint32_t keep, const std::vector<std::string> &always_keep);

  // Oldest first, by number.
  Result<std::vector<CheckpointInfo>> list() const;

  // Reads and hashes every byte of the checkpoint at `path`. kData names file and fault.
  Result<> verify(const std::string &path) const;

  // Fills the given tensors and returns the rest (without tensors). Each rank gives the pieces that it wants, however they were cut when
  // they were saved and by how many processes; together they must be all of the checkpoint in `scope`, and ranks may want the same. Every
  // byte is verified before a tensor is touched, and each block of a tensor again as it arrives. kData names file and fault. kRecipe, with
  // both values, for names, shapes, types or fingerprints that differ, and for a checkpoint of a newer trainhost; kInternal when a part of
  // a tensor is wanted by no rank. A fingerprint, or kind of plugin, that `expected` leaves empty is not compared.
  Result<CheckpointContents> load(const std::string &path, std::span<NamedTensor> tensors, const Fingerprints &expected,
                                  LoadScope scope = LoadScope::kEverything) const;

  // The newest checkpoint that is whole. Each newer one that is not is named in a warning with the steps lost. nullopt when there is
  // none at all; kData when there are some and none is good: never start over in a used directory. Other failures are as with load: a
  // whole checkpoint that does not fit this run is not stepped over.
  Result<std::optional<CheckpointContents>> load_newest(std::span<NamedTensor> tensors, const Fingerprints &expected,
                                                        LoadScope scope = LoadScope::kEverything) const;

  // The same search for any other use: `use` is given the paths, newest first, until it finds one that is not damaged (kData).
  // Returns whether there was one.
  Result<bool> use_newest(const std::function<Result<>(const std::string &path)> &use) const;

  ProcessGroup &group() const { return *group_; }

 private:
  CheckpointDirectory(FileSystem &files, std::string folder, ProcessGroup &group)
      : files_(&files), folder_(std::move(folder)), group_(&group) {}
  Result<> reclaim();
  Result<> remove(const std::vector<CheckpointInfo> &checkpoints);
  Result<> write(const PreparedCheckpoint &prepared);
  Result<bool> stands_already(const std::string &path, const CheckpointManifest &manifest) const;
  void warn_if_unchanged(const CheckpointManifest &manifest) const;

  FileSystem *files_;
  std::string folder_;
  ProcessGroup *group_;
  std::optional<uint64_t> last_saved_;  // read back and found right by this object
  bool save_failed_ = false;            // so what stands may not be durable, and is not taken for saved without being written anew
};

}  // namespace trainhost
