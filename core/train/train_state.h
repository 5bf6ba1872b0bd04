// Where training stands between two steps, beside parameters and optimizer states.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "train/spike_guard.h"

namespace trainhost {

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

  bool is_skipped(uint64_t at_step) const;

  // JSON whose numbers read back to the same bits. from_json fails with kData saying what is missing.
  std::string to_json() const;
  static Result<TrainState> from_json(const std::string &text, uint64_t step);
};

}  // namespace trainhost
