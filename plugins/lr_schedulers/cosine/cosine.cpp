// Cosine(T) and CosineLoop(T) of MiniCPM (arXiv 2404.06395, appendix B.1). With s the tokens so far and f the floor:
//   s < W: peak s / W;  then peak (f + (1 - f) (1 + cos(pi x)) / 2) with x = s / T;  from T on: peak f, or on along the cosine.
// The paper prints 0.9 cos(pi s / T) + 0.1, which goes below zero; this is what its text describes.
// Counted from the warm-up's end x = (s - W) / (T - W): the minimum stays at T.
#include "trainhost/cpp/lr_scheduler.hpp"

#include <cmath>
#include <numbers>

#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

class Cosine {
 public:
  Cosine(const Host &, const Config &config, const th_progress &)
      : peak_(config.number("peak_lr")),
        warmup_(config),
        floor_(config.number("floor")),
        period_(config.amount("period")),
        loop_(config.boolean("loop")),
        origin_(config.string("count_from") == "warmup" ? warmup_.length() : 0) {
    if (period_ <= warmup_.length()) {
      throw Failure(TH_INVALID, "period is " + tokens_text(period_) + ", warmup " + tokens_text(warmup_.length()) +
                                    "; expected a period longer than the warm-up");
    }
  }

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    if (warmup_.covers(tokens)) {
      out.learning_rate = peak_ * warmup_.share(tokens);
      out.stage = to_string("warmup");
      return;
    }
    const double x = (tokens - origin_) / (period_ - origin_);
    const bool over = x >= 1 && !loop_;
    const double height = over ? 0 : 0.5 * (1 + std::cos(std::numbers::pi * x));
    out.learning_rate = peak_ * (floor_ + (1 - floor_) * height);
    const bool rising = std::fmod(x, 2) >= 1;
    out.stage = to_string(over ? "floor" : rising ? "rise" : "decay");
  }

 private:
  double peak_;
  Warmup warmup_;
  double floor_, period_;
  bool loop_;
  double origin_;  // tokens from where the cosine is counted
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Cosine>)
