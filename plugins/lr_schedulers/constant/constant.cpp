// Warm-up, then one learning rate to the end.
#include "trainhost/cpp/lr_scheduler.hpp"

#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

class Constant {
 public:
  Constant(const Host &, const Config &config, const th_progress &) : lr_(config.number("lr")), warmup_(config) {}

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    const bool warming = warmup_.covers(tokens);
    out.learning_rate = warming ? lr_ * warmup_.share(tokens) : lr_;
    out.stage = to_string(warming ? "warmup" : "stable");
  }

 private:
  double lr_;
  Warmup warmup_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Constant>)
