// `trainhost checkpoints average`: several checkpoints of a run as one.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/averaging_weights.h"

namespace trainhost {

struct AverageQuery {
  std::vector<std::string> sources;  // one run directory, or the directories of checkpoints
  AveragingRule rule;
  // Which of the run's checkpoints; at most one way is given, and without any it is all of them.
  std::optional<uint32_t> last;         // the newest so many
  std::vector<uint64_t> steps;          // those of these steps
  std::optional<uint64_t> from, until;  // those of steps from ... until, both included
  std::string output;                   // the run directory to make
  bool json = false;                    // facts for programs instead of a table
};

// Makes a run directory with one checkpoint, the average, and prints which checkpoints are in it with which weights. Recipe and tokenizer
// are those of the newest checkpoint's run. Errors: those of averaging_weights, average_checkpoints and make_run; kUsage for a choice that
// contradicts itself, that the run has not, or that leaves fewer than two; kData for a checkpoint that cannot be used.
Result<> average(const AverageQuery &query, FileSystem &files, std::ostream &out);

}  // namespace trainhost
