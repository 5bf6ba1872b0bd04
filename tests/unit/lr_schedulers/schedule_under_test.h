// A shipped schedule on a run of 1000 tokens a step.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "plugin_host/adapters/lr_scheduler.h"
#include "support/plugin_under_test.h"

namespace trainhost {

constexpr uint64_t kStepTokens = 1000;

using Settings = std::map<std::string, ParameterValue>;

class ScheduleUnderTest {
 public:
  ScheduleUnderTest(const std::string &name, uint64_t steps, const Settings &settings)
      : axis_(run_of(steps)),
        schedule_(LrScheduler::create(plugin_under_test(PluginKind::kLrScheduler, name, settings, &axis_), axis_.progress(0))) {}

  bool created() const { return schedule_.has_value(); }
  std::string error() const { return schedule_ ? "" : schedule_.error().message; }
  ErrorKind error_kind() const { return schedule_.error().kind; }

  ScheduleValues values(uint64_t step) const { return (*schedule_)->values(axis_.progress(step)).value(); }
  double lr(uint64_t step) const { return values(step).learning_rate; }
  std::string stage(uint64_t step) const { return values(step).stage; }
  // Why a step's values are refused.
  std::string failure(uint64_t step) const { return (*schedule_)->values(axis_.progress(step)).error().message; }

 private:
  static TokenAxis run_of(uint64_t steps) {
    Recipe recipe;
    recipe.run.tokens = steps * kStepTokens;
    recipe.training.batch = Batch::constant(kStepTokens);
    recipe.packing.sequence_length = 100;
    recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
    return TokenAxis(recipe);
  }

  TokenAxis axis_;
  Result<std::unique_ptr<LrScheduler>> schedule_;
};

}  // namespace trainhost
