// What training did in each phase, from a run's metrics alone.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "metrics/run_log.h"
#include "telemetry/loss_slope.h"

namespace trainhost {

// Means over the measurements of a piece that are known; NaN without any.
struct TelemetryMeans {
  size_t measurements = 0;
  double gradient_cosine = 0, d1 = 0, d2 = 0, curvature = 0, update_ratio = 0, largest_update_ratio = 0;
  double noise_scale = 0;  // the last one, which is smoothed already
};

enum class Behaviour {
  kOther,
  kStable,     // the exponent of the second half of the steps differs from that of the first by less than kSlopeChange
  kAnnealing,  // the learning rate begins to fall, or falls faster, and the loss surely falls faster by more than kSlopeChange
};

constexpr double kSlopeChange = 0.1;  // relative

// Consecutive steps of one phase, in one stage of the learning-rate schedule: a phase's warm-up or decay is a piece of its own. Losses and
// slopes are of the training loss, of steps that made their update. NaN: unknown.
struct PhaseAccount {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

  std::string phase, stage;                            // no stage: the schedule names none
  uint64_t from_step = 0, to_step = 0;                 // done before it and at its end
  uint64_t from_tokens = 0, to_tokens = 0;             // likewise
  uint64_t steps_without_update = 0;                   // spikes, and what was not finite
  uint64_t first_batch = 0, last_batch = 0;            // tokens in a step
  double first_rate = 0, last_rate = 0;                // learning rate
  double first_loss = kUnknown, last_loss = kUnknown;  // means of the first and the last tenth of the steps, nats per token
  LossSlope slope{};
  // Of the end of the piece before, over as many tokens as this piece has, or all of it.
  LossSlope slope_before{.per_token = kUnknown, .sigma = kUnknown, .exponent = kUnknown};
  double slope_ratio = kUnknown;   // slope.per_token over that of slope_before; only while the loss fell there
  double slope_change = kUnknown;  // of the exponent from the first half of the steps to the second, relative; of 20 steps or more
  Behaviour behaviour = Behaviour::kOther;
  bool same_mix = false;  // as the piece before, which there is
  TelemetryMeans telemetry{};
  std::optional<EvaluationReport> held_out{};  // the last evaluation of the piece
};

// Where the loss curve alone bends (detect_phases).
struct Knee {
  double tokens = 0;
  std::optional<size_t> border{};  // the piece that begins nearest to it, among those after the first
  double distance = 0;             // tokens from that border to the knee; below 0: before it
};

struct RunAccount {
  std::vector<PhaseAccount> pieces;
  std::vector<Knee> knees{};
  std::vector<double> exponents{};  // of the loss curve before, between and after the knees
};
RunAccount account_of(const RunLog &log);

}  // namespace trainhost
