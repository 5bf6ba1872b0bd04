// The cosine of each block's input and output while the model is trained.
#pragma once

#include <optional>

#include "data/batch.h"
#include "evaluate/layer_cosine.h"
#include "recipe/token_axis.h"
#include "train/model_runner.h"
#include "train/reporter.h"
#include "train/train_state.h"

namespace trainhost {

// Reports LayerCosines of one batch, always the same, after each evaluation, whose own forward of it is watched. One thread.
class LayerTelemetry {
 public:
  struct Parts {  // outlive it
    const TokenAxis &axis;
    ModelRunner &runner;
    Reporter &reporter;
  };
  explicit LayerTelemetry(const Parts &parts) : parts_(parts) {}

  // Begins anew. For the one rank of the data-parallel group that runs the batch, which outlives the watch, as this object does; all ranks
  // call this, then report().
  ModelRunner::Watch watch(const TokenBatch &batch);
  // On all ranks; nothing of a model without blocks, or when nothing was to be watched. Errors: of the ranks' exchange.
  Result<> report(const TrainState &state);

 private:
  const Parts parts_;
  std::optional<LayerCosines> cosines_;
  double tokens_ = 0;  // that were watched
};

}  // namespace trainhost
