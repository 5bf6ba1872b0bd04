// Loss on text that training never sees, per source, per token and per byte.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/batch.h"
#include "evaluate/layer_telemetry.h"
#include "metrics/metrics.h"
#include "plugin_host/adapters/tokenizer.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/model_runner.h"
#include "train/observer.h"
#include "train/reporter.h"

namespace trainhost {

// How many bytes of text each id stands for; special tokens 0.
Result<std::vector<uint32_t>> bytes_per_id(const Tokenizer &tokenizer);

// The held-out windows of one source.
struct HeldOutSource {
  std::string name;
  std::vector<TokenBatch> batches;
};

// What was measured on them; the vectors have one entry per window, in the order of the batches, which no run changes.
struct HeldOutLosses {
  std::string source;
  std::vector<double> losses;  // nats, summed over the window's counted tokens
  std::vector<double> tokens;  // that count
  double bytes = 0;            // of the text that all of them stand for

  double loss() const;  // the sum over the windows
  double counted_tokens() const;
  // Mean loss over the counted tokens, and the same sum per byte of their text. So runs with different tokenizers compare by the latter.
  EvaluationReport::Row row() const;
};

// The ranks share the batches, and all get the same, to the last bit whatever their number. kStopped when stop is set on any of them
// meanwhile. probe: how the model is run; its watch sees the first batch alone, on the rank of the data-parallel group that runs it.
Result<HeldOutLosses> held_out_losses(ModelRunner &runner, const HeldOutSource &source, const std::vector<uint32_t> &bytes_per_id,
                                      const std::atomic<bool> &stop, const ModelRunner::Probe &probe = ModelRunner::Probe());

// Somebody who draws conclusions from each evaluation.
class HeldOutWatcher {
 public:
  virtual ~HeldOutWatcher() = default;
  // After each evaluation, those of a recipe that holds nothing out too, on all ranks. An error ends the run with it.
  virtual Result<> measured(TrainState &state, const std::vector<HeldOutLosses> &losses) = 0;
};

// Measures when due (by amount, at the end of each phase) and reports. Each evaluation is made once, however often the run is resumed.
class HeldOutEvaluation : public TrainObserver {
 public:
  struct Parts {
    const Recipe &recipe;
    const TokenAxis &axis;
    ModelRunner &runner;
    Reporter &reporter;
    std::vector<HeldOutSource> sources;
    std::vector<uint32_t> bytes_per_id;
    const std::atomic<bool> &stop;
    std::vector<HeldOutWatcher *> watchers;  // outlive it
    LayerTelemetry *layers = nullptr;        // likewise; watches the first batch of the first source that has any; null: nobody does
  };
  explicit HeldOutEvaluation(Parts parts) : parts_(std::move(parts)) {}

  Result<> begin(TrainState &state) override { return evaluate_when_due(state); }
  Result<> after_step(TrainState &state, const StepReport &) override { return evaluate_when_due(state); }
  bool pending(const TrainState &state) const override { return state.evaluated_step != state.step && due(state.step); }
  // Measures now, without reporting.
  Result<EvaluationReport> measure(const TrainState &state);

 private:
  Result<std::vector<HeldOutLosses>> losses(LayerTelemetry *layers);
  EvaluationReport report_of(const TrainState &state, const std::vector<HeldOutLosses> &losses) const;
  Result<> evaluate_when_due(TrainState &state);
  bool due(uint64_t step) const;

  Parts parts_;
};

}  // namespace trainhost
