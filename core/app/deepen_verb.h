// `trainhost checkpoints deepen`: a checkpoint for a model of more layers.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/deepen.h"

namespace trainhost {

struct DeepenQuery {
  std::string checkpoint;             // its directory, in a run
  Deepening deepening;                // what is copied
  std::vector<std::string> settings;  // KEY=VALUE, what changes in the recipe: the number of layers above all
  std::string output;                 // the run directory to make
  bool json = false;
};

// Makes a run directory with one checkpoint, the deeper model's, and the recipe of the checkpoint's run with the settings, whose model must
// have exactly the parameters of that checkpoint: else kRecipe. Says what was copied. Errors: those of find_layers, deepen, recipe_for and
// make_run.
Result<> deepen_checkpoint(const DeepenQuery &query, FileSystem &files, std::ostream &out);

}  // namespace trainhost
