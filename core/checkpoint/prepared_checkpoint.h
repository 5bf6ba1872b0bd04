// A checkpoint that is complete in memory: what is written is fixed to the byte before the first byte is written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "checkpoint/shard.h"
#include "collectives/process_group.h"

namespace trainhost {

struct PreparedCheckpoint {
  std::vector<Shard> shards;    // of this rank
  CheckpointManifest manifest;  // of all ranks
  std::string manifest_text, checksums_text;

  // What it takes on a disk that gives space out in blocks, its directory included.
  uint64_t bytes_needed() const;
};

// A collective call. The tensors must neither move nor change as long as the result is used. kInternal, on every rank, for contents that no
// file could hold, and when the ranks' pieces are not each tensor once or they are not of one step.
Result<PreparedCheckpoint> prepare_checkpoint(const CheckpointContents &contents, ProcessGroup &group);

}  // namespace trainhost
