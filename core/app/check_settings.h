// What only the plugins of a recipe can say of it.
#pragma once

#include "app/corpus.h"
#include "base/status.h"

namespace trainhost {

// Makes the optimizers, schedulers and mixers of the run and its branches, on the CPU and without data (to a mixer each source is as long
// as the run), and asks the schedulers for learning rates all along the token axis. The error (kRecipe) is one line for each of all the
// refusals, with its place; a plugin that fails otherwise is an error of its own kind.
Result<> check_settings(const CheckedRecipe &checked);

}  // namespace trainhost
