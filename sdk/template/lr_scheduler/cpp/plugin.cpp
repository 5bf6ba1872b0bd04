// Warm-up, then cosine waves that each start again at a lower top (Loshchilov and Hutter 2017, "SGDR"). With s the tokens so far, W the
// warm-up and P the period:
//   s < W:      peak s / W
//   else:       peak shrink^n (floor + (1 - floor) (1 + cos(pi x)) / 2)   with (s - W) / P = n + x, n whole, 0 <= x < 1
#include <trainhost/cpp/lr_scheduler.hpp>

#include <cmath>
#include <numbers>

namespace {

using namespace trainhost::sdk;

class Waves {
 public:
  Waves(const Host &, const Config &config, const th_progress &run)
      : peak_(config.number("peak_lr")),
        warmup_(config.amount("warmup")),
        period_(config.amount("period")),
        floor_(config.number("floor")),
        shrink_(config.number("shrink")) {
    // What a manifest cannot say is checked here. The host shows the text with the plugin's name before it.
    if (warmup_ < static_cast<double>(run.total_tokens)) return;
    throw Failure(TH_INVALID,
                  "warmup is " + std::to_string(warmup_) + " tokens; expected less than the run's " + std::to_string(run.total_tokens));
  }

  // A function of `now` alone, so that a resumed run goes on with the same bits.
  void values(const th_progress &now, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(now.tokens);
    if (tokens < warmup_) {
      out.learning_rate = peak_ * (tokens / warmup_);
      out.stage = to_string("warmup");
      return;
    }
    const double waves = (tokens - warmup_) / period_, whole = std::floor(waves);
    const double height = (1 + std::cos(std::numbers::pi * (waves - whole))) / 2;
    out.learning_rate = peak_ * std::pow(shrink_, whole) * (floor_ + (1 - floor_) * height);
    out.stage = to_string("wave");
  }

 private:
  double peak_, warmup_, period_, floor_, shrink_;  // warmup_ and period_ in tokens, whatever unit the recipe used
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Waves>)
