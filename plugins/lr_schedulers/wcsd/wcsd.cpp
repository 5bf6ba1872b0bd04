// Warm-up, cosine waves, a rise, stable, decay. With s the tokens so far:
//   warm-up over W; waves k = 1 .. n, of period m^(k-1) tokens each: lo + (hi - lo) (1 + cos(2 pi phi)) / 2 with hi = peak a^(k-1), lo =
//   trough hi and phi from 0 to 1 (the last one may stop at 1/2); a line to stable_level peak; that level; a decay (decay.hpp) to the end
//   of the run.
// Without waves and rise it is WSD; one half wave, no rise and stable_level = trough is Infinite-LR (arXiv 2503.02844).
#include "trainhost/cpp/lr_scheduler.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "decay.hpp"
#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

struct Wave {
  double start, period, high, low;  // high and low as shares of the peak

  double at(double tokens) const { return low + 0.5 * (high - low) * (1 + std::cos(2 * std::numbers::pi * (tokens - start) / period)); }
};

class Wcsd {
 public:
  Wcsd(const Host &, const Config &config, const th_progress &run)
      : peak_(config.number("peak_lr")),
        stable_level_(config.number("stable_level")),
        warmup_(config),
        decay_(config),
        rise_start_(warmup_.length()) {
    add_waves(config);
    rise_end_ = rise_start_ + config.amount("rise");
    const auto total = static_cast<double>(run.total_tokens);
    decay_start_ = total - decay_.length();
    if (rise_end_ <= decay_start_ + 1e-9 * total) return;
    throw Failure(TH_INVALID, "warm-up, waves and rise take " + tokens_text(rise_end_) + " and the decay " + tokens_text(decay_.length()) +
                                  "; expected all of them to fit into the run's " + tokens_text(total));
  }

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    if (warmup_.covers(tokens)) return set(out, warmup_.share(tokens), "warmup");
    if (tokens < rise_start_) return set(out, wave_at(tokens).at(tokens), "wave");
    if (tokens < rise_end_) return set(out, rising(tokens), "rise");
    if (tokens < decay_start_ || decay_.length() == 0) return set(out, stable_level_, "stable");
    set(out, stable_level_ * decay_.share(std::min(tokens - decay_start_, decay_.length())), "decay");
  }

 private:
  void add_waves(const Config &config) {
    const double growth = config.number("period_growth"), amplitude = config.number("amplitude"), trough = config.number("trough");
    double period = config.amount("period"), high = 1;
    for (int64_t i = config.integer("waves"); i > 0; --i, period *= growth, high *= amplitude) {
      waves_.push_back({rise_start_, period, high, trough * high});
      const bool half = i == 1 && config.string("last_wave") == "half";
      rise_start_ += half ? period / 2 : period;
    }
  }

  const Wave &wave_at(double tokens) const { return *std::prev(std::ranges::upper_bound(waves_, tokens, {}, &Wave::start)); }

  // From where the waves, or the warm-up, ended.
  double rising(double tokens) const {
    const double from = waves_.empty() ? 1 : waves_.back().at(rise_start_);
    return from + (stable_level_ - from) * (tokens - rise_start_) / (rise_end_ - rise_start_);
  }

  void set(th_schedule_values &out, double share, std::string_view stage) const {
    out.learning_rate = peak_ * share;
    out.stage = to_string(stage);
  }

  double peak_, stable_level_;
  Warmup warmup_;
  Decay decay_;
  std::vector<Wave> waves_;
  double rise_start_, rise_end_, decay_start_;  // in tokens
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Wcsd>)
