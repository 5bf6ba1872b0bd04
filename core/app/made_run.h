// A run directory that is made of another's, without training.
#pragma once

#include <functional>
#include <string>

#include "app/corpus.h"
#include "base/file_system.h"
#include "base/status.h"

namespace trainhost {

// The run directory that the checkpoint at `path` lies in. kUsage when it lies in none: its recipe and tokenizer are needed.
Result<std::string> run_of(FileSystem &files, const std::string &path);

// The recipe of a run directory with other settings, for a run in `output`; it has no branches, which begin with checkpoints of the run.
// Errors: those of check_recipe.
Result<CheckedRecipe> recipe_for(const std::string &run_directory, const std::vector<std::string> &settings, const std::string &output);

// Makes the directory `output` with the recipe, the tokenizer of `run_directory` and the checkpoint that `make` writes into the folder that
// it is given. All of it stands under that name at once or, after a failure, nothing does. kUsage when there is something of that name;
// kCheckpointWrite when it cannot be written; kData when the tokenizer cannot be read; the errors of `make`.
Result<> make_run(FileSystem &files, const std::string &output, const Recipe &recipe, const std::string &run_directory,
                  const std::function<Result<>(const std::string &folder)> &make);

}  // namespace trainhost
