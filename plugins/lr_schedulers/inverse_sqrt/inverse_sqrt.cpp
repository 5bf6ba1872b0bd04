// The Transformer's schedule (arXiv 1706.03762, equation 3) on the token axis: d^-1/2 min(s^-1/2, s W^-3/2), which is peak min(s / W,
// sqrt(W / s)) with its peak (d W)^-1/2 at s = W as a parameter of its own.
#include "trainhost/cpp/lr_scheduler.hpp"

#include <cmath>

namespace {

using namespace trainhost::sdk;

class InverseSqrt {
 public:
  InverseSqrt(const Host &, const Config &config, const th_progress &)
      : peak_(config.number("peak_lr")), warmup_(config.amount("warmup")) {}

  void values(const th_progress &progress, th_schedule_values &out) const {
    const double part = static_cast<double>(progress.tokens) / warmup_;
    out.learning_rate = peak_ * (part < 1 ? part : 1 / std::sqrt(part));
    out.stage = to_string(part < 1 ? "warmup" : "decay");
  }

 private:
  double peak_, warmup_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<InverseSqrt>)
