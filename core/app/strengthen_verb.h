// `trainhost strengthen`: finds what a run is weak at, and tries at the end of training whether more of that text mends it.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"

namespace trainhost {

struct StrengthenQuery {
  std::string run;                    // its directory
  std::optional<uint64_t> step;       // of the checkpoint; absent: the newest before the decay
  std::string reference;              // a run directory whose last held-out losses are targets, or empty
  std::vector<std::string> targets;   // SOURCE=LOSS, over those of the reference
  std::string length = "10%";         // of each decay: an amount of the run
  double share = 0.5;                 // what the proposed mix gives to the weak source beside its share of the rest
  uint32_t seeds = 3;                 // 1 ... seeds
  uint32_t processes = 0;             // of each decay; 0: one, without a launcher
  std::vector<std::string> settings;  // KEY=VALUE, for all decays
  std::string output;                 // the folder of the decays; those that are finished in it are not run again
  bool json = false;
};

// Trains short decays of the learning rate to 0 from a checkpoint, with the mix that the recipe has there, each seed in a process of its
// own; takes the source whose mean loss at their end is furthest above its target; trains as many with more of it in the mix; and prints
// what that did to each source, whether the mix is accepted (see MixVerdict), and the mix as a line for the recipe. When no source is above
// its target that is said, and nothing more is trained. The run itself is only read. kUsage for a query that contradicts itself or has no
// target for a source of the run; kRecipe as of check_recipe; kStopped when it was stopped, and the same query goes on; the error of a
// decay that fails ends it.
Result<> strengthen(const StrengthenQuery &query, FileSystem &files, std::ostream &out);

}  // namespace trainhost
