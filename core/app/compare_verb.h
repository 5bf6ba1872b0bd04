// `trainhost compare`: ways to train, side by side over several seeds.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "base/status.h"

namespace trainhost {

struct CompareQuery {
  std::vector<std::string> recipes;   // files; the first, or its trunk, is what the others are compared with
  std::vector<std::string> variants;  // of the one recipe: "NAME: KEY=VALUE; KEY=VALUE"
  std::vector<std::string> settings;  // KEY=VALUE, for all
  uint32_t seeds = 3;                 // 1 ... seeds
  uint32_t processes = 0;             // of each run; 0: one, without a launcher
  std::string until;                  // SOURCE=LOSS, or empty
  double tolerance = 0.01;            // nats per byte above the run's loss up to which a branch with another batch has recovered
  std::string output;                 // the folder of the runs: OUTPUT/NAME/seed-1
  bool json = false;
};

// Trains every recipe, variant and branch with every seed, one after another and each in a process of its own; those that are finished in
// `output` are not run again. Then prints for each source the mean and the sample deviation of the final held-out loss per byte, and for
// all but the first their difference to it with the p of Welch's two-sided t-test; where branches have other batches, which of them
// recover; with `until`, also what each took to reach that held-out loss, and the critical batch. kUsage for a query that contradicts
// itself; kRecipe when the runs are not of equal tokens, do not measure the same sources, or as of check_recipe; kStopped when it was
// stopped, and the same query goes on; the error of a run that fails ends it.
Result<> compare(const CompareQuery &query, std::ostream &out);

}  // namespace trainhost
