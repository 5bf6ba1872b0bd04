// Loss on text that training never sees, per source, per token and per byte.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/batch.h"
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

// Mean loss over the counted tokens of a source, and the same sum per byte of the text they stand for (nats). So runs with different
// tokenizers compare by loss_per_byte. The ranks share the batches, and all report the same. kStopped when stop is set on any of them
// meanwhile.
Result<EvaluationReport::Row> held_out_loss(ModelRunner &runner, const HeldOutSource &source, const std::vector<uint32_t> &bytes_per_id,
                                            const std::atomic<bool> &stop);

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
  };
  explicit HeldOutEvaluation(Parts parts) : parts_(std::move(parts)) {}

  Result<> begin(TrainState &state) override { return evaluate_when_due(state); }
  Result<> after_step(TrainState &state, const StepReport &) override { return evaluate_when_due(state); }
  bool pending(const TrainState &state) const override {
    return !parts_.sources.empty() && state.evaluated_step != state.step && due(state.step);
  }
  // Measures now, without reporting.
  Result<EvaluationReport> measure(const TrainState &state);

 private:
  Result<> evaluate_when_due(TrainState &state);
  bool due(uint64_t step) const;

  Parts parts_;
};

}  // namespace trainhost
