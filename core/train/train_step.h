// One optimizer step: micro-batches forward and backward, gradient norm, guard, clip, update.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "data/batch.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "plugin_host/adapters/optimizer.h"
#include "recipe/recipe.h"
#include "train/gradient_store.h"
#include "train/model_runner.h"
#include "train/train_state.h"

namespace trainhost {

class TrainStep {
 public:
  enum class Outcome { kUpdated, kSpike, kNotFinite };
  struct Report {
    Outcome outcome = Outcome::kUpdated;
    std::string reason;        // of a step without an update; names the plugin whose numbers are not finite
    double loss = 0;           // nats per counted token
    double gradient_norm = 0;  // before clipping
  };

  // The arguments must outlive the step. seed: of the model's randomness.
  TrainStep(ModelRunner &runner, ParameterStore &parameters, GradientStore &gradients, const Recipe::Training &settings, uint64_t seed)
      : runner_(runner), parameters_(parameters), gradients_(gradients), settings_(settings), seed_(seed) {}

  // `batch`: this rank's micro-batches. Loss is the sum over weighted tokens of all ranks divided by the step's whole weight, so it does
  // not depend on how micro-batches are cut. Every rank reports the same. Without an update (spike or not finite) parameters and optimizer
  // states keep their bits. state.updates, the spike window and the losses of the sources in state.mix, when it is there, move on, the
  // losses whatever becomes of the step; state.step is the caller's. Errors: a plugin's.
  Result<Report> run(const StepBatch &batch, Optimizer &optimizer, const ScheduleValues &schedule, TrainState &state);

 private:
  Result<> measure(const StepBatch &batch, TrainState &state, Report &report);
  Result<std::string> culprit(const Optimizer &optimizer);

  ModelRunner &runner_;
  ParameterStore &parameters_;
  GradientStore &gradients_;
  const Recipe::Training &settings_;
  uint64_t seed_;
};

}  // namespace trainhost
