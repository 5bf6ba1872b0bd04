// A short decay from a checkpoint of a run, to try a mix (micro-annealing, as of Llama 3, arXiv 2407.21783, section 3.1.3, and OLMo 2,
// arXiv 2501.00656): what the data does shows only when the learning rate has fallen.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/file_system.h"
#include "base/status.h"
#include "metrics/run_log.h"
#include "recipe/recipe.h"

namespace trainhost {

// Where it begins.
struct AnnealStart {
  std::string checkpoint;  // its directory
  std::string label;       // "end of stable", or empty
  std::string phase;       // of the step before
  uint64_t step = 0, tokens = 0, batch_tokens = 0;
  double learning_rate = 0;  // of the step before
};

// The checkpoint of `step`; without one, the newest before the run's decay: the learning rate is still half of its highest, or more.
// kUsage when there is none such; kData when the checkpoint cannot be used, or is not in the log.
Result<AnnealStart> anneal_start(const std::string &run_directory, const RunLog &log, std::optional<uint64_t> step, FileSystem &files);

// The run's recipe up to the start, then one phase whose learning rate falls in a line to 0. It is that which would follow, or which the
// start is in, over `length` rounded up to whole steps (a share: of the run's tokens; steps: of its batch), with the fixed mix that it has.
// Only the newest checkpoint is kept, and nothing is sampled.
Recipe micro_anneal(const Recipe &run, const AnnealStart &start, const Amount &length);

// The mix of its last phase: share by source, sum 1. And to change it.
std::map<std::string, double> last_mix(const Recipe &recipe);
Recipe with_last_mix(Recipe recipe, const std::map<std::string, double> &mix);

}  // namespace trainhost
