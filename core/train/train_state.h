// Where training stands between two steps, beside parameters and optimizer states.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/sample_stream.h"
#include "recipe/token_axis.h"
#include "telemetry/noise_scale.h"
#include "train/spike_guard.h"

namespace trainhost {

// Where a mixer that moves the shares of its sources stands. The vectors of sources have one entry each.
struct MixProgress {
  MixRound round;                   // under way, or just ended
  std::vector<double> mixer_state;  // the mixer's own, from the round's beginning on
  std::vector<double> losses;       // of the round's steps so far, summed over the source's counted tokens, in nats
  std::vector<uint64_t> tokens;     // that were counted

  // The losses of a step, with the tokens they are the sum of. A source whose sum is not finite adds nothing.
  void add(size_t source, double loss, uint64_t counted);
};

// Where a batch that grows by itself stands.
struct BatchProgress {
  std::vector<GrownBatch> grown;  // all so far, in order
  double loss_sum = 0;            // of the steps since the last look
  uint64_t steps = 0;             // that have a loss
  double loss_before = 0;         // the mean at the last look; 0: there was none

  void learn(double loss);
  double mean_loss() const { return loss_sum / static_cast<double>(steps); }
  // Whether the mean is not lower than the one before by this share of it; false after the first look.
  bool stalls(double improvement) const { return loss_before > 0 && mean_loss() > (1 - improvement) * loss_before; }
  // The mean becomes the one before.
  void look();
  bool operator==(const BatchProgress &) const = default;
};

// The held-out losses of a source at one evaluation, for later ones to be compared with.
struct PastLosses {
  uint64_t tokens = 0;          // of the run, when they were measured
  double training_loss = 0;     // of the run then: the mean over the steps since the evaluation before
  std::vector<double> windows;  // summed over each window, in nats
};

// The training loss over some steps.
struct RunningLoss {
  double sum = 0, steps = 0;
  bool operator==(const RunningLoss &) const = default;
};

struct TrainState {
  // Steps [first, end) whose batches are passed over without an update.
  struct Skipped {
    uint64_t first = 0, end = 0;
  };

  uint64_t step = 0;                       // steps done, skipped ones included: the position on the token axis
  uint64_t updates = 0;                    // updates applied to the parameters
  uint64_t evaluated_step = ~uint64_t{0};  // the last step after which held-out loss was measured; none: the largest number
  uint64_t sampled_step = ~uint64_t{0};    // likewise for text samples
  uint32_t rollbacks = 0;                  // how often the run went back because of NaN
  std::vector<Skipped> skipped;
  SpikeGuard spikes;
  BatchProgress batch;
  NoiseScale noise;                                                   // of the steps that were measured
  std::optional<MixProgress> mix;                                     // when the mixer has th.mixer.feedback/1, from the first step on
  std::map<std::string, PastLosses> at_phase_start, lowest_held_out;  // by source
  RunningLoss since_evaluation;                                       // of the updates since the last one

  bool is_skipped(uint64_t at_step) const;

  // JSON whose numbers read back to the same bits. from_json fails with kData saying what is missing.
  std::string to_json() const;
  static Result<TrainState> from_json(const std::string &text, uint64_t step);
};

}  // namespace trainhost
