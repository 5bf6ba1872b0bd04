// Saving while training goes on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/prepared_checkpoint.h"
#include "collectives/process_group.h"
#include "device/buffer.h"
#include "device/cpu_memory.h"

namespace trainhost {

// Which checkpoints are kept after a save; see CheckpointDirectory::prune.
struct Retention {
  uint32_t keep = 1;
  std::vector<std::string> always_keep;
};

// A checkpoint that is durable now.
struct SavedCheckpoint {
  std::string path;
  uint64_t step = 0;
  double seconds = 0;          // from the call of save until it was durable
  double stalled_seconds = 0;  // of those, how long the caller had to wait
};

// Freezes a copy of the tensors at a step boundary, hashes it there, and writes it on a thread of its own. The copy's memory is kept for
// the next save. All methods are collective calls, made by one thread per rank at a step boundary, and give all ranks the same outcome.
class BackgroundSave {
 public:
  // Called by the methods below, on the caller's thread, once per checkpoint.
  using Announce = std::function<void(const SavedCheckpoint &)>;

  // `directory` was opened with a group that is used for nothing else, such as a split of `training`; while a save is under way neither the
  // directory nor its group may be used (finish() comes before load_newest). `training` is the group of the callers themselves.
  // available_bytes: how much memory there is for a copy. All outlive this object.
  BackgroundSave(CheckpointDirectory &directory, ProcessGroup &training, Announce announce,
                 std::function<uint64_t()> available_bytes = cpu_available_bytes);
  // Waits for the save under way; its failure is logged, its success not announced.
  ~BackgroundSave();
  BackgroundSave(const BackgroundSave &) = delete;
  BackgroundSave &operator=(const BackgroundSave &) = delete;

  // Waits for the save before, as finish() does, then freezes these contents and starts to write them; afterwards what retention does not
  // want is pruned. The tensors may change as soon as it returns. Where a rank lacks the memory for the copy it warns, and returns only
  // when the checkpoint is durable. Errors of the save before, and of CheckpointDirectory::save as far as it has come.
  Result<> save(const CheckpointContents &contents, Retention retention);

  // To be called at every step boundary: announces the save under way if it has ended on every rank, or returns its error.
  Result<> poll();

  // Waits for the save under way and announces it, or returns its error.
  Result<> finish();

 private:
  struct Outcome {
    Result<std::string> saved;
    Result<> pruned;
  };
  using Clock = std::chrono::steady_clock;

  bool freeze(const CheckpointContents &contents);
  bool reserve(size_t bytes);
  Outcome write(const PreparedCheckpoint &prepared, const Retention &retention);
  Result<> report(const Outcome &outcome);

  CheckpointDirectory *directory_;
  ProcessGroup *training_;
  Announce announce_;
  std::function<uint64_t()> available_bytes_;

  Buffer<std::byte> copy_;
  CheckpointContents frozen_;  // its tensors lie in copy_
  uint64_t step_ = 0;
  Clock::time_point started_;
  double stalled_seconds_ = 0;

  std::thread writer_;  // joinable: a save is under way
  Outcome outcome_;     // the writer's until it has ended
  std::atomic<bool> ended_ = false;
};

}  // namespace trainhost
