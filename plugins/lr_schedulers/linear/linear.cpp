// Warm-up over W tokens, then a line from the peak to the floor at the end of the run: peak (f + (1 - f) (1 - (s - W) / (total - W))). With
// the floor 0 it is D2Z of arXiv 2502.15938.
#include "trainhost/cpp/lr_scheduler.hpp"

#include <algorithm>

#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

class Linear {
 public:
  Linear(const Host &, const Config &config, const th_progress &run)
      : peak_(config.number("peak_lr")),
        warmup_(config),
        floor_(config.number("floor")),
        length_(static_cast<double>(run.total_tokens) - warmup_.length()) {
    if (length_ > 0) return;
    throw Failure(TH_INVALID, "warmup is " + tokens_text(warmup_.length()) + "; expected less than the run's " +
                                  tokens_text(static_cast<double>(run.total_tokens)));
  }

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    if (warmup_.covers(tokens)) {
      out.learning_rate = peak_ * warmup_.share(tokens);
      out.stage = to_string("warmup");
      return;
    }
    const double left = std::max(0.0, 1 - (tokens - warmup_.length()) / length_);
    out.learning_rate = peak_ * (floor_ + (1 - floor_) * left);
    out.stage = to_string("decay");
  }

 private:
  double peak_;
  Warmup warmup_;
  double floor_, length_;  // length_: of the line, in tokens
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Linear>)
