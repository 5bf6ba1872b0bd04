// Lines that say how far something is. Text only: what puts them on a terminal is the console.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "metrics/metrics.h"

namespace trainhost {

// An average over about the last ten values, right from the first one on. Values that are not finite are left out.
class Smoothed {
 public:
  void add(double value);
  double value() const { return weight_ > 0 ? sum_ / weight_ : 0; }

 private:
  double sum_ = 0, weight_ = 0;
};

// Follows the steps of a run.
class RunProgress {
 public:
  void begin(const RunSummary &run) { run_ = run; }
  void observe(const StepReport &report);
  void observe(const BatchReport &report) { run_.total_steps = report.total_steps; }

  bool started() const { return last_.step > 0; }
  bool finished() const { return last_.step >= run_.total_steps; }
  double share() const;  // of the steps, 1 at the end

  // At most `width` columns; what does not fit is left out, the least important first. The loss is smoothed.
  std::string line(size_t width) const;
  // Everything about the last step, for output that is not drawn anew.
  std::string plain_line() const;

 private:
  std::string steps_text() const;
  std::string time_left() const;  // empty at the end and while the speed is unknown

  RunSummary run_;
  StepReport last_;
  std::string stage_;
  uint64_t skipped_ = 0;
  Smoothed loss_, tokens_per_second_;
};

// Long work before training, after `seconds` of it.
std::string work_line(std::string_view what, uint64_t done, uint64_t total, double seconds, size_t width);
std::string work_plain_line(std::string_view what, uint64_t done, uint64_t total, double seconds);

}  // namespace trainhost
