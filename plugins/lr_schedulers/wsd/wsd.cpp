// Warm-up, stable, decay: MiniCPM's schedule (arXiv 2404.06395, equation 1) on the token axis. Until W the peak is approached
// linearly, until end - decay it is held, then it falls along a shape (decay.hpp) to the end, of the run or before it, and stays there.
#include "trainhost/cpp/lr_scheduler.hpp"

#include <algorithm>

#include "decay.hpp"
#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

class Wsd {
 public:
  Wsd(const Host &, const Config &config, const th_progress &run)
      : peak_(config.number("peak_lr")), end_(end_of_decay(config, run)), warmup_(config), decay_(config) {
    const double rounding = 1e-9 * end_;  // "90%" and "10%" of a run fill it, whatever their last bits
    if (warmup_.length() + decay_.length() > end_ + rounding) {
      const bool whole_run = end_ == static_cast<double>(run.total_tokens);
      throw Failure(TH_INVALID, "warmup is " + tokens_text(warmup_.length()) + " and decay " + tokens_text(decay_.length()) +
                                    "; expected both to fit into the " + (whole_run ? "run's " : "") + tokens_text(end_) +
                                    (whole_run ? "" : " up to decay_until"));
    }
  }

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    const double decayed = std::min(tokens - (end_ - decay_.length()), decay_.length());
    if (warmup_.covers(tokens)) {
      out.learning_rate = peak_ * warmup_.share(tokens);
      out.stage = to_string("warmup");
    } else if (decayed < 0 || decay_.length() == 0) {
      out.learning_rate = peak_;
      out.stage = to_string("stable");
    } else {
      out.learning_rate = peak_ * decay_.share(decayed);
      out.stage = to_string(tokens < end_ ? "decay" : "constant");
    }
  }

 private:
  // A run is rounded up to whole steps, and its decay with it.
  static double end_of_decay(const Config &config, const th_progress &run) {
    const double end = config.amount("decay_until");
    return end < config.resolve_amount("100%") ? end : static_cast<double>(run.total_tokens);
  }

  double peak_, end_;
  Warmup warmup_;
  Decay decay_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Wsd>)
