// Warm-up, then the peak times a share that changes at given places. The default is that of DeepSeek LLM (arXiv 2401.02954).
#include "trainhost/cpp/lr_scheduler.hpp"

#include <charconv>
#include <cmath>
#include <vector>

#include "comma_list.hpp"
#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

struct Step {
  double tokens, share;  // from there on
};

double share_of(std::string_view text) {
  double share = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), share);
  if (error == std::errc() && end == text.data() + text.size() && std::isfinite(share) && share >= 0) return share;
  throw Failure(TH_INVALID, "found \"" + std::string(text) + "\", expected a share of the peak, as 0.316");
}

Step step_of(const Config &config, std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    throw Failure(TH_INVALID, "steps: found \"" + std::string(text) + "\", expected \"place: share\", as \"80%: 0.316\"");
  }
  try {
    return {config.resolve_amount(trimmed(text.substr(0, colon))), share_of(trimmed(text.substr(colon + 1)))};
  } catch (const Failure &failure) {
    throw Failure(TH_INVALID, "steps: in \"" + std::string(text) + "\": " + failure.what());
  }
}

std::vector<Step> steps_of(const Config &config) {
  const std::string text = config.string("steps");
  std::vector<Step> steps;
  for (const std::string_view part : comma_list(text)) {
    const Step step = step_of(config, part);
    if (!steps.empty() && step.tokens <= steps.back().tokens)
      throw Failure(TH_INVALID, "steps: \"" + text + "\" is not in the order of its places");
    steps.push_back(step);
  }
  return steps;
}

class Steps {
 public:
  Steps(const Host &, const Config &config, const th_progress &)
      : peak_(config.number("peak_lr")), warmup_(config), steps_(steps_of(config)) {
    if (steps_.front().tokens >= warmup_.length()) return;
    throw Failure(TH_INVALID, "steps: the first comes at " + tokens_text(steps_.front().tokens) + "; expected it after the warm-up of " +
                                  tokens_text(warmup_.length()));
  }

  void values(const th_progress &progress, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(progress.tokens);
    if (warmup_.covers(tokens)) {
      out.learning_rate = peak_ * warmup_.share(tokens);
      out.stage = to_string("warmup");
      return;
    }
    double share = 1;
    for (const Step &step : steps_) {
      if (tokens >= step.tokens) share = step.share;
    }
    out.learning_rate = peak_ * share;
    out.stage = to_string(tokens < steps_.front().tokens ? "stable" : "decay");
  }

 private:
  double peak_;
  Warmup warmup_;
  std::vector<Step> steps_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Steps>)
