// `trainhost plan`: what a run will take, without running it.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "app/corpus.h"
#include "base/status.h"

namespace trainhost {

struct MemoryQuery {
  uint32_t processes = 1;
  bool json = false;
};

// Prints what the run computes, the most memory that a process of each pipeline stage will have at once, by part, and what "auto" stands
// for. Where the recipe gives no budget, this machine's free memory is shared by all the processes; for GPUs, which need not be here, it
// must give one. Needs the plugins, but no data.
Result<> print_memory_plan(const CheckedRecipe &checked, const MemoryQuery &query, std::ostream &out);

struct ScheduleQuery {
  std::string svg;  // a file to write; empty: none
  bool json = false;
  bool blocks = false;  // whether the terminal shows Unicode's block characters
};

// Draws learning rate, mix and batch over the token axis as text, or prints them as JSON; with `svg` it also writes them as a picture.
// Needs neither data nor model.
Result<> print_schedule_plan(const CheckedRecipe &checked, const ScheduleQuery &query, std::ostream &out);

}  // namespace trainhost
