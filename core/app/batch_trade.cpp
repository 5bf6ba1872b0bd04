#include "app/batch_trade.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trainhost {

Result<LossTarget> LossTarget::parse(std::string_view option, const std::string &text) {
  const size_t equals = text.rfind('=');
  if (equals != std::string::npos) {
    LossTarget target{.source = text.substr(0, equals)};
    const char *const end = text.data() + text.size();
    const auto [parsed, error] = std::from_chars(text.data() + equals + 1, end, target.loss);
    if (error == std::errc{} && parsed == end && target.loss > 0 && !target.source.empty()) return target;
  }
  return failure(ErrorKind::kUsage, fmt::format("{} is \"{}\", expected SOURCE=LOSS, a held-out loss in nats per byte", option, text));
}

BatchTrade trade_of_batches(std::span<const ComparedRun> runs, const LossTarget &target) {
  BatchTrade trade{.target = target, .rows = {}, .critical = {}};
  const uint64_t first_seed = runs.front().seed();
  const auto seeds = static_cast<double>(runs.back().seed() - first_seed + 1);
  for (const ComparedRun &run : runs) {
    if (run.seed() == first_seed) trade.rows.push_back({.name = run.contestant().name, .reached = ReachedLoss{}});
    const auto row = std::ranges::find(trade.rows, run.contestant().name, &BatchTrade::Row::name);
    const auto reached = run.reached(target.source, target.loss);
    if (!reached) row->reached.reset();
    if (!row->reached) continue;
    row->reached->steps += reached->steps / seeds;
    row->reached->tokens += reached->tokens / seeds;
  }
  std::vector<ReachedLoss> points;
  for (const BatchTrade::Row &row : trade.rows)
    if (row.reached) points.push_back(*row.reached);
  trade.critical = fit_critical_batch(points);
  return trade;
}

void print(const BatchTrade &trade, std::ostream &out) {
  const std::string title = fmt::format("until {} is at {}", trade.target.source, trade.target.loss);
  size_t width = title.size();
  for (const auto &row : trade.rows) width = std::max(width, row.name.size());
  out << fmt::format("\n{:<{}}  {:>10}  {:>12}  {:>10}\n", title, width, "steps", "tokens", "batch");
  for (const auto &[name, reached] : trade.rows) {
    out << fmt::format("{:<{}}", name, width);
    if (reached) {
      out << fmt::format("  {:>10.1f}  {:>12.0f}  {:>10.0f}\n", reached->steps, reached->tokens, reached->tokens / reached->steps);
    } else {
      out << "  not reached with every seed\n";
    }
  }
  if (const auto &fit = trade.critical) {
    out << fmt::format("\ncritical batch {:.0f} tokens: at least {:.1f} steps, at least {:.0f} tokens; R2 of log steps {:.4f}\n",
                       fit->batch(), fit->least_steps, fit->least_tokens, fit->r_squared);
  } else {
    out << "\nno critical batch: that takes three batches or more that reach the loss, of which the smallest take more steps and the "
           "largest\n"
           "more tokens than the others\n";
  }
}

nlohmann::ordered_json to_json(const BatchTrade &trade) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto &[name, reached] : trade.rows) {
    nlohmann::ordered_json row{{"name", name}, {"steps", nullptr}, {"tokens", nullptr}};
    if (reached) row = {{"name", name}, {"steps", reached->steps}, {"tokens", reached->tokens}};
    rows.push_back(std::move(row));
  }
  nlohmann::ordered_json critical;
  if (const auto &fit = trade.critical)
    critical = {
        {"batch", fit->batch()}, {"least_steps", fit->least_steps}, {"least_tokens", fit->least_tokens}, {"r_squared", fit->r_squared}};
  return {{"source", trade.target.source}, {"loss", trade.target.loss}, {"rows", std::move(rows)}, {"critical", std::move(critical)}};
}

}  // namespace trainhost
