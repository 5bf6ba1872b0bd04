// Cosine with warm restarts (SGDR, arXiv 1608.03983, equation 5): in cycle i, of length T m^i, the learning rate falls from hi = peak a^i
// as hi (f + (1 - f) (1 + cos(pi x)) / 2), x from 0 to 1, and starts again at the next.
#include "trainhost/cpp/lr_scheduler.hpp"

#include <cmath>
#include <numbers>

#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

class Sgdr {
 public:
  Sgdr(const Host &, const Config &config, const th_progress &)
      : peak_(config.number("peak_lr")),
        warmup_(config),
        period_(config.amount("period")),
        growth_(config.number("period_growth")),
        amplitude_(config.number("amplitude")),
        floor_(config.number("floor")) {}

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    if (warmup_.covers(tokens)) {
      out.learning_rate = peak_ * warmup_.share(tokens);
      out.stage = to_string("warmup");
      return;
    }
    const auto [cycle, x] = place(tokens - warmup_.length());
    const double height = 0.5 * (1 + std::cos(std::numbers::pi * x));
    out.learning_rate = peak_ * std::pow(amplitude_, cycle) * (floor_ + (1 - floor_) * height);
    out.stage = to_string("decay");
  }

 private:
  struct Place {
    double cycle, x;
  };
  // Which cycle, and which part of it is done. The first n cycles have period (m^n - 1) / (m - 1) tokens, or period n.
  Place place(double tokens) const {
    const double periods = tokens / period_;
    if (growth_ == 1) return {std::floor(periods), periods - std::floor(periods)};
    double cycle = std::floor(std::log1p(periods * (growth_ - 1)) / std::log(growth_));
    const auto start = [&](double n) { return (std::pow(growth_, n) - 1) / (growth_ - 1); };
    if (periods < start(cycle)) --cycle;  // what the logarithm rounded
    if (periods >= start(cycle + 1)) ++cycle;
    return {cycle, (periods - start(cycle)) / std::pow(growth_, cycle)};
  }

  double peak_;
  Warmup warmup_;
  double period_, growth_, amplitude_, floor_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Sgdr>)
