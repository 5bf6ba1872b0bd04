// WSD-S (arXiv 2410.05192): warm-up, then for each budget B (tokens from the run's start) the peak and, over the last decay_share B
// tokens before B, a decay (decay.hpp). At B the run goes on at the peak from the decayed weights, so that each budget ends as a WSD run of
// that length would, and none of its tokens is trained on twice.
#include "trainhost/cpp/lr_scheduler.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "comma_list.hpp"
#include "decay.hpp"
#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

struct Budget {
  double end;  // in tokens
  Decay decay;

  double decay_start() const { return end - decay.length(); }
};

class WsdS {
 public:
  WsdS(const Host &, const Config &config, const th_progress &) : peak_(config.number("peak_lr")), warmup_(config) {
    const std::string text = config.string("budgets");
    for (const std::string_view budget : comma_list(text)) add(config, text, budget);
    const double run = config.resolve_amount("100%");
    if (std::abs(budgets_.back().end - run) <= 1e-9 * run) return;
    throw Failure(TH_INVALID, "budgets = \"" + text + "\" end at " + tokens_text(budgets_.back().end) +
                                  "; expected the last one to be the run's end, " + tokens_text(run));
  }

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    const auto next = std::ranges::upper_bound(budgets_, tokens, {}, &Budget::end);
    const Budget &budget = next == budgets_.end() ? budgets_.back() : *next;
    const double decayed = tokens - budget.decay_start();
    const bool warming = warmup_.covers(tokens), decaying = decayed >= 0;
    const double share = warming ? warmup_.share(tokens) : decaying ? budget.decay.share(std::min(decayed, budget.decay.length())) : 1;
    out.learning_rate = peak_ * share;
    out.stage = to_string(warming ? "warmup" : decaying ? "decay" : "stable");
  }

 private:
  void add(const Config &config, const std::string &budgets, std::string_view text) {
    const double begin = budgets_.empty() ? warmup_.length() : budgets_.back().end;
    const double end = amount_of(config, budgets, text), length = config.number("decay_share") * end;
    if (!budgets_.empty() && end <= begin) throw Failure(TH_INVALID, "budgets = \"" + budgets + "\" are not in their order");
    if (begin + length > end * (1 + 1e-9)) {
      throw Failure(TH_INVALID, "budgets = \"" + budgets + "\": the one of " + std::string(text) + " has " + tokens_text(end - begin) +
                                    " after " + (budgets_.empty() ? "the warm-up" : "the one before") + "; expected at least the " +
                                    tokens_text(length) + " of its decay");
    }
    budgets_.push_back({end, Decay(config, length)});
  }

  static double amount_of(const Config &config, const std::string &budgets, std::string_view text) {
    try {
      return config.resolve_amount(text);
    } catch (const Failure &failure) {
      throw Failure(TH_INVALID, "budgets = \"" + budgets + "\": " + failure.what());
    }
  }

  double peak_;
  Warmup warmup_;
  std::vector<Budget> budgets_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<WsdS>)
