// What `trainhost VERB ...` does; main.cpp parses the command line into these options.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "app/assemble_run.h"
#include "base/status.h"
#include "evaluate/text_generator.h"

namespace trainhost {

struct RecipeOptions {
  std::string file;
  std::vector<std::string> settings;  // --set key=value
};

// Trains the recipe to its end, then its branches, and compares their held-out losses; or, when one is named, that branch alone, from the
// checkpoint that the recipe's run has left (kData when there is none; kUsage for a name that no branch has).
Result<> train(const RecipeOptions &options, const std::string &branch, const StartOptions &start);

// A recipe that its plugins accept, too. Touches no device but the CPU, and no data. Errors: check_recipe's and check_settings'.
Result<CheckedRecipe> read_and_check(const RecipeOptions &options);

// Prints the resolved recipe and what each phase covers.
Result<> check(const RecipeOptions &options, std::ostream &out);

// Prepares the data of a recipe and says what there is.
Result<> prepare(const RecipeOptions &options, std::ostream &out);

struct RunOptions {
  std::string directory;
  std::optional<uint64_t> step;  // of the checkpoint; absent: the newest
  bool json = false;
};

// Held-out loss of a checkpoint; and with layers, of what each of its blocks is worth (kUsage: the model has none).
Result<> evaluate(const RunOptions &options, bool layers, std::ostream &out);

// Writes the prompt and what the model makes of it, as it comes.
Result<> generate(const RunOptions &options, const std::string &prompt, const SamplingSettings &settings, std::ostream &out);

}  // namespace trainhost
