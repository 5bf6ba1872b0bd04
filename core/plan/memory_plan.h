// What a run will have in memory, known before it takes any: core/docs/memory.md says how each part is counted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "plan/memory_timeline.h"
#include "plugin_host/adapters/model.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/phase_parts.h"

namespace trainhost {

// What "auto" may decide within a memory budget.
struct MemorySettings {
  uint64_t micro_batch_tokens = kAutoMicroBatchTokens;  // at most so many at a time through the model, where the recipe says "auto"
  uint32_t recompute = 0;                               // as Recipe::Training::recompute; where the recipe says a number, that one
  bool operator==(const MemorySettings &) const = default;
};

// Where a run will compute; the device need not be here.
struct PlannedDevice {
  bool gpu = false, bfloat16 = false;

  size_t bytes_per_item() const { return bfloat16 ? 2 : 4; }
};

// The run to plan for. Everything outlives the call that takes it.
struct PlannedRun {
  const Recipe &recipe;
  const Model &model;
  const PhaseParts &phases;
  uint32_t vocabulary_size = 0;
  uint32_t processes = 1;
  PlannedDevice device;
};

struct MemoryPlan {
  // A process of a pipeline stage, the one that has the most.
  struct Stage {
    MemoryUse peak;
    std::string moment;  // when that is: "in a training step"
  };
  std::vector<Stage> stages;

  const Stage &fullest() const;
};

// The most that each process will have in memory at once, for the whole run: in the machine's, or with a GPU in that of its GPU. A function
// of its arguments, and of how many threads the model uses. Errors: kRecipe when the processes cannot be laid out so; the plugins'.
Result<MemoryPlan> plan_memory(const PlannedRun &run, const MemorySettings &settings);

}  // namespace trainhost
