// Batches that grow by themselves: with the loss, when it stalls, or where the learning rate halves.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "collectives/process_group.h"
#include "data/sample_stream.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/phase_parts.h"
#include "train/reporter.h"
#include "train/train_state.h"

namespace trainhost {

// The rules of Batch:
//   loss: the batch doubles as long as the double is at most scale / L^exponent tokens, L the mean training loss since the last look
//   (MiniCPM, arXiv 2404.06395, A.2);
//   stall: it doubles when that mean is not lower than the one before by the share `improvement` (as for Yi-9B, arXiv 2403.04652);
//   seesaw: it doubles before the first step at which the schedule is at half of its peak, a quarter, and so on, and the learning rate is
//   the schedule's times the root of how much the batch has grown, so that at each of these steps it has fallen by the root of 2 only
//   (arXiv 2510.14717).
class BatchGrowth {
 public:
  // Everything outlives it.
  struct Parts {
    const Recipe &recipe;
    TokenAxis &axis;
    SampleStream &stream;
    const PhaseParts &phases;
    ProcessGroup &world;
    Reporter &reporter;
  };
  explicit BatchGrowth(Parts parts) : parts_(parts) {}

  // Decides on the batch of the state's next step, of which there must be one, lays axis and stream out by state.batch, and returns up to
  // which step the batch stays; asked again at a step before that, it changes nothing. No thread may be using the stream. All ranks call
  // it and get the same. Errors: a scheduler's or the mixer's.
  Result<uint64_t> enter(TrainState &state);
  // The training loss of a step of this phase; not finite: it made none.
  void learn(TrainState &state, uint32_t phase, double loss) const;
  // What the schedule's learning rate at this step is multiplied with.
  double learning_rate_factor(uint64_t step) const;

 private:
  const Batch &batch_at(uint64_t step) const { return batch_of(parts_.recipe, parts_.axis.phase_of_step(step)); }
  Result<> follow(const TrainState &state);
  Result<> grow(TrainState &state, uint64_t tokens, const std::string &reason);
  Result<uint64_t> enter_by_loss(TrainState &state);
  Result<uint64_t> enter_by_learning_rate(TrainState &state);
  uint64_t next_look(uint64_t step) const;
  Result<uint64_t> next_halving(uint64_t step) const;

  Parts parts_;
};

}  // namespace trainhost
