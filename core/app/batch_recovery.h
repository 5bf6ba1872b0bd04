// What branches with other batches tell of the critical batch where they begin: the largest whose loss comes back to the run's, as that of
// all smaller ones does (Merrill et al., arXiv 2505.23971: branch, try k times the batch, watch the loss recover).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "recipe/recipe.h"

namespace trainhost {

// A batch and how far the loss that it ended with lies above that of the run's own, in nats per byte; may be NaN.
struct TriedBatch {
  uint64_t tokens = 0;
  double excess = 0;
};

// The critical batch lies from `at_least` up to `below`, in tokens.
struct RecoveredBatches {
  std::optional<uint64_t> at_least;  // the largest that recovers, as all smaller ones do
  std::optional<uint64_t> below;     // the smallest that does not
  bool beyond = false;               // a batch larger than `below` recovers, which says that the losses are not sure enough
  bool operator==(const RecoveredBatches &) const = default;
};

// A batch recovers when its excess is at most `tolerance`; of several tries of one batch, as with several learning rates, one is enough. A
// NaN does not recover.
RecoveredBatches recovered_batches(std::span<const TriedBatch> tried, double tolerance);

// The branches of a recipe that begin at one place and have other batches than the run has from there on.
struct BatchBranches {
  struct Branch {
    std::string name;
    uint64_t tokens = 0;
  };
  struct LeftOut {
    std::string name, why;
  };
  std::string from;              // "end of PHASE"
  uint64_t tokens = 0;           // the run's batch; 0: it changes
  std::vector<Branch> branches;  // by tokens, ascending
  std::vector<LeftOut> left_out;
};

// One entry for each place where such branches begin. Left out are those whose batch, or the run's beside them, changes on the way, and
// those that change the text too: mix, sequence_length or loss_on.
std::vector<BatchBranches> batch_branches(const Recipe &recipe);

// What they come to, source by source.
struct BatchRecovery {
  struct Row {
    std::string name;  // "RECIPE/BRANCH"
    TriedBatch tried;
    bool recovers = false;
  };
  struct OfSource {
    std::string source;
    bool finite = true;  // the run's own loss; else nothing is told
    std::vector<Row> rows;
    RecoveredBatches batches;
  };
  std::string recipe;
  BatchBranches branches;
  double tolerance = 0;  // nats per byte
  std::vector<OfSource> sources;
};

// losses: by source and by name, "RECIPE" or "RECIPE/BRANCH", one for each seed; their means are compared.
BatchRecovery recovery_of(const std::string &recipe, const BatchBranches &branches,
                          const std::map<std::string, std::map<std::string, std::vector<double>>> &losses, double tolerance);
void print(const BatchRecovery &recovery, std::ostream &out);
nlohmann::ordered_json to_json(const BatchRecovery &recovery);

}  // namespace trainhost
