// The power schedule (arXiv 2408.13359): min(peak, coefficient s^power) with s the tokens so far, after a warm-up and before a decay at the
// end of the run, which begins where the power has led.
#include "trainhost/cpp/lr_scheduler.hpp"

#include <algorithm>
#include <cmath>

#include "decay.hpp"
#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

class Power {
 public:
  Power(const Host &, const Config &config, const th_progress &run)
      : peak_(config.number("peak_lr")),
        coefficient_(config.number("coefficient")),
        power_(config.number("power")),
        warmup_(config),
        decay_(config),
        decay_start_(static_cast<double>(run.total_tokens) - decay_.length()) {
    const double rounding = 1e-9 * static_cast<double>(run.total_tokens);
    if (warmup_.length() <= decay_start_ + rounding) return;
    throw Failure(TH_INVALID, "warmup is " + tokens_text(warmup_.length()) + " and decay " + tokens_text(decay_.length()) +
                                  "; expected both to fit into the run's " + tokens_text(static_cast<double>(run.total_tokens)));
  }

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    if (warmup_.covers(tokens)) {
      out.learning_rate = stable(warmup_.length()) * warmup_.share(tokens);
      out.stage = to_string("warmup");
    } else if (tokens < decay_start_ || decay_.length() == 0) {
      out.learning_rate = stable(tokens);
      out.stage = to_string("stable");
    } else {
      out.learning_rate = stable(decay_start_) * decay_.share(std::min(tokens - decay_start_, decay_.length()));
      out.stage = to_string("decay");
    }
  }

 private:
  double stable(double tokens) const { return tokens > 0 ? std::min(peak_, coefficient_ * std::pow(tokens, power_)) : peak_; }

  double peak_, coefficient_, power_;
  Warmup warmup_;
  Decay decay_;
  double decay_start_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Power>)
