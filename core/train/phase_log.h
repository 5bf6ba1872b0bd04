// Says where each phase begins, and what holds from there on.
#pragma once

#include "data/sample_stream.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/observer.h"
#include "train/reporter.h"

namespace trainhost {

class PhaseLog : public TrainObserver {
 public:
  // The arguments outlive it.
  PhaseLog(const Recipe &recipe, const TokenAxis &axis, Reporter &reporter) : recipe_(recipe), axis_(axis), reporter_(reporter) {}

  void before_step(const TrainState &state) override;
  Result<> after_step(TrainState &, const StepReport &) override { return {}; }

 private:
  const Recipe &recipe_;
  const TokenAxis &axis_;
  Reporter &reporter_;
};

}  // namespace trainhost
