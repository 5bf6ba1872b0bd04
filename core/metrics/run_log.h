// A run's metrics.jsonl, read back.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "metrics/metrics.h"

namespace trainhost {

// Reports in the order of their steps. What a line leaves out is 0 or empty, a number that was not finite NaN.
struct RunLog {
  std::optional<RunSummary> begin;
  std::vector<PhaseReport> phases;  // without overrides
  std::vector<StepReport> steps;
  std::vector<EvaluationReport> evaluations;
  std::vector<MixReport> mixes;
  std::vector<TelemetryReport> telemetry;
};

// Passes over lines of other kinds, torn ones and those that are not ours. A report of a step that is there already, or of one before it,
// takes the place of all from that step on: the run went back to it.
RunLog read_run_log(std::string_view contents);

}  // namespace trainhost
