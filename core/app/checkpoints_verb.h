// `trainhost checkpoints`: what stands in a run's checkpoints/ folder, and a model for other programs.
#pragma once

#include <ostream>
#include <string>

#include "base/file_system.h"
#include "base/status.h"

namespace trainhost {

struct CheckpointsQuery {
  std::string folder;   // RUN/checkpoints
  bool verify = false;  // read and hash every byte, not the manifests alone
  bool json = false;    // facts for programs instead of a table
};

// Prints one row per checkpoint, oldest first: step, tokens, label, size, processes that wrote it, age, state. Changes nothing, so it may
// run beside a training. kData when the folder is absent, and, after everything is printed, when a checkpoint cannot be used.
Result<> print_checkpoints(const CheckpointsQuery &query, FileSystem &files, std::ostream &out);

struct ConsolidateQuery {
  std::string source;  // a run directory, of which the newest whole checkpoint is taken, or the directory of a checkpoint
  std::string output;  // the safetensors file to write
};

// Writes the weights as one file, showing the progress, and says what was written. Errors: those of consolidate and use_newest; kUsage when
// `source` is neither.
Result<> consolidate_checkpoint(const ConsolidateQuery &query, FileSystem &files, std::ostream &out);

}  // namespace trainhost
