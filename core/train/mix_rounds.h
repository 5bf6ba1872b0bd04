// The rounds of a dataset mixer that moves the shares of its sources by their training losses (th.mixer.feedback/1).
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "collectives/process_group.h"
#include "data/sample_stream.h"
#include "plugin_host/adapters/dataset_mixer.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/reporter.h"
#include "train/train_state.h"

namespace trainhost {

class MixRounds {
 public:
  // Everything outlives it.
  struct Parts {
    const Recipe &recipe;
    const TokenAxis &axis;
    const DatasetMixer &mixer;
    SampleStream &stream;
    ProcessGroup &world;
    Reporter &reporter;
  };
  explicit MixRounds(Parts parts) : parts_(parts) {}

  // Whether the state's next step begins a round. Never with a mixer that knows none.
  bool begins(const TrainState &state) const;

  // Makes the stream that of the round in which the state stands, or just ended, where there is one of this mixer. No thread may be using
  // the stream.
  void resume(const TrainState &state) const;

  // Makes the stream ready for the state's next step, of which there must be one, and returns up to which step it is. The round of
  // state.mix goes on; where the step begins one, the mixer is told the losses of the round before, and its answer is reported. With a
  // mixer that knows no rounds, state.mix becomes empty. No thread may be using the stream. All ranks call it and get the same; errors: the
  // mixer's, on all ranks.
  Result<uint64_t> enter(TrainState &state);

 private:
  const PhaseMix &phase_at(uint64_t step) const { return parts_.stream.mix(step); }
  bool belongs(const MixProgress &mix) const;
  bool goes_on(const MixRound &round, uint64_t step) const;
  uint64_t end_of_round(uint64_t first_step) const;
  RoundBefore learnt(const TrainState &state) const;
  Result<std::string> next(TrainState state, const RoundBefore &before) const;
  Result<> begin(TrainState &state) const;
  void report(const TrainState &state, const RoundBefore &before) const;

  Parts parts_;
};

}  // namespace trainhost
