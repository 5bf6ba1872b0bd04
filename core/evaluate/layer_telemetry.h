// The cosine of each block's input and output while the model is trained.
#pragma once

#include "data/batch.h"
#include "evaluate/held_out_loss.h"
#include "recipe/token_axis.h"
#include "train/model_runner.h"
#include "train/reporter.h"

namespace trainhost {

// Reports the layer_cosines() over one batch, always the same, after each evaluation: one forward of a micro-batch.
class LayerTelemetry : public HeldOutWatcher {
 public:
  struct Parts {  // axis, runner and reporter outlive it
    const TokenAxis &axis;
    ModelRunner &runner;
    Reporter &reporter;
    TokenBatch batch;
  };
  explicit LayerTelemetry(Parts parts) : parts_(std::move(parts)) {}

  Result<> measured(TrainState &state, const std::vector<HeldOutLosses> &losses) override;

 private:
  Parts parts_;
};

}  // namespace trainhost
