// The training loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/background_save.h"
#include "checkpoint/checkpoint.h"
#include "data/prefetcher.h"
#include "data/sample_stream.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/batch_growth.h"
#include "train/mix_rounds.h"
#include "train/model_runner.h"
#include "train/observer.h"
#include "train/phase_parts.h"
#include "train/train_state.h"
#include "train/train_step.h"

namespace trainhost {

constexpr uint32_t kStepsAhead = 4;  // that batches are built before they are needed

class Trainer {
 public:
  // What the trainer works with. Everything outlives it.
  struct Parts {
    const Recipe &recipe;
    const TokenAxis &axis;
    const SampleStream &stream;
    MixRounds &rounds;    // of the stream
    BatchGrowth &growth;  // of the axis
    Model &model;
    ModelRunner &runner;
    ParameterStore &parameters;
    GradientStore &gradients;
    PhaseParts &phases;
    CheckpointDirectory &checkpoints;  // with checkpoint.asynchronous opened with a group of its own
    Fingerprints fingerprints;
    std::vector<TrainObserver *> observers;
    const std::atomic<bool> &stop;  // set by a signal
  };

  explicit Trainer(Parts parts);

  // Trains from where `state` stands to the end of the axis, saving checkpoints when due and at the end. Returns kStopped after a save when
  // stop was set; on any other error the last checkpoint stands.
  Result<> run(TrainState &state);

 private:
  Result<StepBatch> next_batch();
  Result<StepReport> train(const StepBatch &batch);
  void warn(const std::string &text) const;
  Result<> react_to(const TrainStep::Report &outcome);
  Result<> roll_back(const std::string &reason);
  Result<> move_to(ParameterPoint point);
  Result<> check_finite(std::span<const NamedTensor> tensors) const;
  Result<> save();
  Result<> save_and_wait(const CheckpointContents &contents, const Retention &retention);
  bool may_stop() const;
  bool checkpoint_due() const;
  bool done() const;
  std::string label() const;
  Parts parts_;
  TrainStep step_;
  std::unique_ptr<Prefetcher> prefetcher_;
  uint64_t prefetched_until_ = 0;             // the step that the prefetcher ends before
  std::optional<BackgroundSave> background_;  // with checkpoint.asynchronous
  TrainState *state_ = nullptr;
  ParameterPoint point_ = ParameterPoint::kEvaluation;  // as parameters are saved
  uint32_t not_finite_in_a_row_ = 0;
  double peak_flops_per_second_ = -1;  // -1: not measured yet
};

}  // namespace trainhost
