#include "evaluate/domain_panel.h"

#include <algorithm>

#include "evaluate/paired_difference.h"

namespace trainhost {
namespace {

PanelReport::Row row_of(const HeldOutLosses &losses, const PastLosses &past) {
  const PairedDifference difference = paired_difference(past.windows, losses.losses, losses.tokens);
  const double per_byte = losses.bytes > 0 ? losses.counted_tokens() / losses.bytes : 0;
  PanelReport::Row row;
  row.source = losses.source;
  row.loss = losses.row().loss_per_byte;
  row.difference = difference.mean * per_byte;
  row.before = row.loss - row.difference;
  row.sigma = difference.sigma * per_byte;
  row.worse = difference.mean > kPanelSigmas * difference.sigma;
  return row;
}

void add(const PanelReport::Row &row, PanelReport::Mean &mean) {
  const double before = static_cast<double>(mean.sources), after = before + 1;
  mean.loss = (mean.loss * before + row.loss) / after;
  mean.before = (mean.before * before + row.before) / after;
  ++mean.sources;
}

}  // namespace

Result<> DomainPanel::measured(TrainState &state, const std::vector<HeldOutLosses> &losses) {
  const auto &spans = parts_.axis.phases();
  const auto ended = std::ranges::find_if(spans, [&](const PhaseSpan &span) { return span.end_step == state.step; });
  if (ended == spans.end()) return {};
  report(state, parts_.recipe.phases[static_cast<size_t>(ended - spans.begin())], losses);
  state.at_phase_start.clear();
  for (const HeldOutLosses &of_source : losses) {
    state.at_phase_start[of_source.source] = {
        .tokens = parts_.axis.tokens_at_step(state.step), .training_loss = 0, .windows = of_source.losses};
  }
  return {};
}

void DomainPanel::report(const TrainState &state, const Phase &phase, const std::vector<HeldOutLosses> &losses) const {
  PanelReport report;
  report.step = state.step;
  report.tokens = parts_.axis.tokens_at_step(state.step);
  report.phase = phase.name;
  for (const HeldOutLosses &of_source : losses) {
    const auto past = state.at_phase_start.find(of_source.source);
    if (past == state.at_phase_start.end() || past->second.windows.size() != of_source.losses.size()) continue;
    const auto source = std::ranges::find(parts_.recipe.sources, of_source.source, &Source::name);
    PanelReport::Row row = row_of(of_source, past->second);
    row.out_of_domain = source->domain == "out";
    add(row, row.out_of_domain ? report.out_of_domain : report.in_domain);
    report.since_tokens = past->second.tokens;
    report.rows.push_back(std::move(row));
  }
  if (!report.rows.empty()) parts_.reporter.panel(report);
}

}  // namespace trainhost
