// `trainhost plan`: what a run will take, without running it.
#pragma once

#include <cstdint>
#include <ostream>

#include "app/corpus.h"
#include "base/status.h"

namespace trainhost {

struct PlanQuery {
  uint32_t processes = 1;
  bool json = false;
};

// Prints what the run computes, the most memory that a process of each pipeline stage will have at once, by part, and what "auto" stands
// for. Where the recipe gives no budget, this machine's free memory is shared by all the processes; for GPUs, which need not be here, it
// must give one. Needs the plugins, but no data.
Result<> print_memory_plan(const CheckedRecipe &checked, const PlanQuery &query, std::ostream &out);

}  // namespace trainhost
