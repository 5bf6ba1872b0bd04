// What of a run its memory depends on: model, optimizer and token axis, made from the recipe alone, without data.
#pragma once

#include <cstdint>
#include <memory>

#include "app/corpus.h"
#include "app/processes.h"
#include "base/status.h"
#include "plan/memory_choice.h"
#include "plugin_host/adapters/model.h"
#include "recipe/token_axis.h"
#include "train/phase_parts.h"

namespace trainhost {

// Where the recipe wants to compute: on a GPU also with "auto", where there is one; in bfloat16 also with "auto", where that is a GPU.
PlannedDevice planned_device(const Recipe &recipe);

// A model that is only described, never run.
struct OutlinedModel {
  uint32_t vocabulary_size = 0;
  std::unique_ptr<Model> model;
};
// The model of a recipe; `axis`, the recipe's, outlives it, and the device that the recipe wants need not be here. Errors: the plugins';
// kRecipe when the vocabulary cannot be told without data.
Result<OutlinedModel> outline_model(const CheckedRecipe &checked, const TokenAxis &axis);

class RunOutline {
 public:
  // `checked` outlives it. Errors: the plugins', and those of outline_model.
  static Result<std::unique_ptr<RunOutline>> create(const CheckedRecipe &checked);

  PlannedRun planned(uint32_t processes) const {
    return {.recipe = checked_.recipe,
            .model = *outlined_.model,
            .phases = phases_,
            .vocabulary_size = outlined_.vocabulary_size,
            .processes = processes,
            .device = planned_device(checked_.recipe)};
  }

 private:
  explicit RunOutline(const CheckedRecipe &checked) : checked_(checked), axis_(checked.recipe) {}

  const CheckedRecipe &checked_;
  const TokenAxis axis_;
  PhaseParts phases_;
  OutlinedModel outlined_;
};

// What each of the processes may use: training.memory, or its share of nine tenths of what `available` bytes give to `shared_by` processes.
MemoryBudget memory_budget(const Recipe &recipe, uint64_t available, uint32_t shared_by);

// Decides what training.recompute and training.micro_batch leave to decide, and says so in the log. All processes call it, and all decide
// the same: by the machine, or with GPUs the GPU, that has the least free, and by what rank 0 finds recorded in the run directory. gpu:
// this process's; null on CPUs.
Result<MemorySettings> decide_memory(const CheckedRecipe &checked, const Device *gpu, Processes &processes);
// Where it is recorded.
std::string memory_record(const Recipe &recipe);

}  // namespace trainhost
