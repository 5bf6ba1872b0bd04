// What a run's learning rate, batch and mix will be, known before it starts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/phase_parts.h"

namespace trainhost {

struct SchedulePlan {
  struct Phase {
    std::string name;
    uint64_t first_step, end_step, first_token, end_token;
  };
  // A step and how many tokens came before it.
  struct Point {
    uint64_t step, tokens;
    double learning_rate;
    uint64_t batch_tokens;
    std::vector<double> mix;  // one share per source, sum 1
    std::string stage;
  };

  std::vector<Phase> phases;
  std::vector<std::string> sources;
  std::vector<Point> points;  // in their order; the first and last step of each phase are among them

  uint64_t total_tokens() const { return phases.back().end_token; }
};

// Of the steps about `points`, evenly spread, or all of them when there are no more. A mixer that moves the shares by the losses begins
// each phase with those that are shown; a batch that grows by itself is shown as it begins, and with seesaw the learning rate without its
// factor. `parts` were made for this recipe and axis. Errors: the scheduler's.
Result<SchedulePlan> plan_schedule(const Recipe &recipe, const TokenAxis &axis, const PhaseParts &parts, uint64_t points);

}  // namespace trainhost
