// The learning rate is what a formula of the recipe says (formula.hpp), times the warm-up.
#include "trainhost/cpp/lr_scheduler.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <numbers>

#include "formula.hpp"
#include "warmup.hpp"

namespace {

using namespace trainhost::sdk;

constexpr uint64_t kChecks = 100;

class Expression {
 public:
  Expression(const Host &, const Config &config, const th_progress &run)
      : formula_(config.string("lr")), peak_(config.number("peak_lr")), warmup_(config) {
    check(run);
  }

  void values(const th_progress &progress, th_schedule_values &out) const {
    out.learning_rate = learning_rate(progress);
    out.stage = to_string(warmup_.covers(static_cast<double>(progress.tokens)) ? "warmup" : "formula");
  }

 private:
  double learning_rate(const th_progress &progress) const {
    const auto tokens = static_cast<double>(progress.tokens), total = static_cast<double>(progress.total_tokens);
    const auto first = static_cast<double>(progress.phase_first_token), end = static_cast<double>(progress.phase_end_token);
    const NamedNumber numbers[] = {{"step", static_cast<double>(progress.step)},
                                   {"total_steps", static_cast<double>(progress.total_steps)},
                                   {"tokens", tokens},
                                   {"total_tokens", total},
                                   {"progress", tokens / total},
                                   {"phase", static_cast<double>(progress.phase)},
                                   {"phase_progress", (tokens - first) / (end - first)},
                                   {"warmup", warmup_.length()},
                                   {"peak_lr", peak_},
                                   {"pi", std::numbers::pi}};
    const double value = formula_.value(numbers);
    if (!std::isfinite(value) || value < 0) refuse(value, progress);
    return warmup_.covers(tokens) ? warmup_.share(tokens) * value : value;
  }

  // At the first step, the last one and some between, as if all steps were of one size. Where the phases are is not known here, so what
  // depends on them is only evaluated once.
  void check(const th_progress &run) const {
    learning_rate(run);
    if (formula_.text().find("phase") != std::string::npos) return;
    for (uint64_t i = 1; i <= kChecks; ++i) {
      th_progress there = run;
      there.step = static_cast<uint64_t>(static_cast<double>(run.total_steps - 1) * static_cast<double>(i) / kChecks);
      there.tokens = run.total_tokens / run.total_steps * there.step;
      learning_rate(there);
    }
  }

  [[noreturn]] void refuse(double value, const th_progress &progress) const {
    std::array<char, 32> digits{};
    std::snprintf(digits.data(), digits.size(), "%g", value);
    throw Failure(TH_INVALID, "lr = \"" + formula_.text() + "\" gives " + digits.data() + " at step " + std::to_string(progress.step) +
                                  ", after " + std::to_string(progress.tokens) + " of " + std::to_string(progress.total_tokens) +
                                  " tokens; expected a finite number of at least 0");
  }

  Formula formula_;
  double peak_;
  Warmup warmup_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Expression>)
