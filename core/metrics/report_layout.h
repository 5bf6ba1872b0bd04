// What the console prints once and leaves standing; each text ends with a newline.
#pragma once

#include <map>
#include <string>

#include "metrics/metrics.h"
#include "metrics/palette.h"

namespace trainhost {

std::string run_text(const RunSummary &run, const Palette &palette);
std::string phase_text(const PhaseReport &report, const Palette &palette);
std::string batch_text(const BatchReport &report, const Palette &palette);
std::string sample_text(const TextSample &sample, const Palette &palette);
std::string epochs_text(const EpochReport &report);  // one line; empty before the first step
std::string panel_text(const PanelReport &report, const Palette &palette);

// Evaluations as tables; a loss stands beside its change since the evaluation before.
class EvaluationTables {
 public:
  explicit EvaluationTables(const Palette &palette) : palette_(palette) {}
  std::string next(const EvaluationReport &report);

 private:
  std::string change(double now, double before) const;

  Palette palette_;
  std::map<std::string, EvaluationReport::Row> previous_;  // by source
};

}  // namespace trainhost
