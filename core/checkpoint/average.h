// The average of several checkpoints as another checkpoint.
#pragma once

#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/made_checkpoint.h"
#include "checkpoint/manifest.h"

namespace trainhost {

struct WeightedCheckpoint {
  std::string path;
  double weight;
};

// Writes the sum of the parameters of `checkpoints`, each times its weight, into `folder` (see write_made_checkpoint). All else is that of
// the last one: step, tokens, fingerprints, trainer state and the optimizer's states. `how` goes into its origin, with the parts. An
// element is summed in double precision in the order given, so that it does not depend on how the checkpoints were cut. Returns the
// manifest. kRecipe when checkpoints differ in their tokenizer or in the names and shapes of parameters, naming both; kData naming what
// is damaged; the errors of write_made_checkpoint.
Result<CheckpointManifest> average_checkpoints(FileSystem &files, const std::vector<WeightedCheckpoint> &checkpoints,
                                               const std::string &how, const std::string &folder, const WriteProgress &progress);

}  // namespace trainhost
