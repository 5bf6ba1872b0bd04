// What "auto" means for training.recompute and training.micro_batch: what fits a memory budget and costs the least time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "plan/memory_plan.h"

namespace trainhost {

// What a process may use.
struct MemoryBudget {
  uint64_t bytes = 0;
  bool given = false;  // by the recipe; else it is what the machine has free
};

struct MemoryChoice {
  MemorySettings settings;
  std::optional<MemoryPlan> plan;  // none: the model does not tell its memory
};

// The settings that fit in every process, `recorded` (those that the run has had so far) where they do. Where both are "auto" smaller
// micro-batches down to 1024 tokens come before recomputing, which costs more time; then as few units as fit are recomputed; then the
// micro-batches get smaller down to one sequence. A pure function of its arguments. kRecipe when nothing fits a budget: says by how much
// and which part is the largest; and when a budget is given, but the model does not tell its memory.
Result<MemoryChoice> choose_memory(const PlannedRun &run, const MemoryBudget &budget, const std::optional<MemorySettings> &recorded);

// One line for the log: what was chosen and what is planned for it.
std::string describe(const Recipe &recipe, const MemoryChoice &choice, const MemoryBudget &budget);

// JSON, for the run directory. Nothing when the text is no such record.
std::string to_json(const MemorySettings &settings);
std::optional<MemorySettings> memory_settings_from_json(const std::string &text);

}  // namespace trainhost
