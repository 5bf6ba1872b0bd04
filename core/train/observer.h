// Those who look on while a run trains: metrics, evaluation, samples.
#pragma once

#include "base/status.h"
#include "metrics/metrics.h"
#include "train/train_state.h"

namespace trainhost {

// Called from the training thread. An error ends the run with it.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  // Before the first step of this process, also when it resumes; the parameters are at their evaluation point.
  virtual Result<> begin(TrainState &) { return {}; }
  // Before each step; state.step counts those done.
  virtual void before_step(const TrainState &) {}
  // After each step, with state.step counting it; before a checkpoint of that step.
  virtual Result<> after_step(TrainState &state, const StepReport &report) = 0;
  // Before a checkpoint is written: what was reported so far must be as durable as the checkpoint.
  virtual Result<> before_checkpoint() { return {}; }
  // Whether it began after the last step what only the next one completes: a stop waits for that.
  virtual bool needs_next_step() const { return false; }
  // Whether something that belongs to this step is still to be done, by after_step, or later because a stop kept it from that. While there
  // is, after_step finds the parameters at their evaluation point, and a run at its last step is not done.
  virtual bool pending(const TrainState &) const { return false; }
};

}  // namespace trainhost
