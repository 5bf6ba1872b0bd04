#include "metrics/report_layout.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "metrics/quantities.h"
#include "metrics/utf8_text.h"

namespace trainhost {
namespace {

std::string padded(const std::string &text, size_t width) { return text + std::string(width - std::min(width, columns(text)), ' '); }

size_t widest_source(const auto &rows) {
  size_t width = std::string_view("source").size();
  for (const auto &row : rows) width = std::max(width, columns(printable(row.source)));
  return width;
}

// Each line four columns in.
std::string indented(std::string_view text) {
  std::string block = "    ";
  for (const char c : text) c == '\n' ? block += "\n    " : block += c;
  return block;
}

}  // namespace

std::string run_text(const RunSummary &run, const Palette &palette) {
  std::string text = palette.strong(printable(run.recipe)) + "\n";
  text += fmt::format("  model      {}, {} parameters\n", printable(run.model), count_text(static_cast<double>(run.parameters)));
  text +=
      fmt::format("  length     {} tokens in {} steps\n", count_text(static_cast<double>(run.total_tokens)), step_text(run.total_steps));
  text += fmt::format("  directory  {}\n", printable(run.directory));
  if (run.first_step > 0) text += fmt::format("  goes on after step {}\n", step_text(run.first_step));
  return text;
}

std::string phase_text(const PhaseReport &report, const Palette &palette) {
  std::string text = palette.strong(fmt::format("phase {}", printable(report.phase))) +
                     fmt::format(" from step {}, {} tokens: {} tokens a step, sequences of {}\n", step_text(report.step),
                                 count_text(static_cast<double>(report.tokens)), count_text(static_cast<double>(report.batch_tokens)),
                                 report.sequence_length);
  std::vector<std::string> parts;
  for (const auto &[source, share] : report.mix)
    if (share > 0) parts.push_back(fmt::format("{} {:.1f}%", printable(source), 100 * share));
  for (const auto &[key, value] : report.overrides) parts.push_back(fmt::format("{} = {}", printable(key), printable(value)));
  return text + fmt::format("  {}\n", fmt::join(parts, ", "));
}

std::string batch_text(const BatchReport &report, const Palette &palette) {
  return palette.strong(fmt::format("batch of {} tokens", count_text(static_cast<double>(report.after)))) +
         fmt::format(" in place of {} from step {}: {}\n", count_text(static_cast<double>(report.before)), step_text(report.step),
                     printable(report.reason));
}

std::string sample_text(const TextSample &sample, const Palette &palette) {
  return palette.strong(fmt::format("sample at step {}", step_text(sample.step))) + "\n" +
         indented(palette.strong(printable(sample.prompt)) + printable(sample.continuation)) + "\n";
}

std::string epochs_text(const EpochReport &report) {
  std::string text;
  for (const auto &row : report.rows) {
    if (row.tokens_read == 0) continue;
    text += fmt::format("{}{} {:.2f}", text.empty() ? "  epochs read: " : ", ", printable(row.source), row.epochs);
    if (row.effective_share < 1) text += fmt::format(" (worth {:.1f}% of new text)", 100 * row.effective_share);
  }
  return text.empty() ? text : text + "\n";
}

std::string panel_text(const PanelReport &report, const Palette &palette) {
  std::string text = palette.strong(fmt::format("held-out loss over phase {}, nats/byte", printable(report.phase))) + "\n";
  const size_t width = std::max(widest_source(report.rows), std::string_view("out of domain").size());
  text += fmt::format("  {}  {:>6}  {:>8}  {:>8}  {:>8}  {:>7}\n", padded("source", width), "domain", "before", "after", "change", "sigma");
  for (const auto &row : report.rows) {
    const std::string line = fmt::format("  {}  {:>6}  {:>8.4f}  {:>8.4f}  {:>+8.4f}  {:>7.4f}", padded(printable(row.source), width),
                                         row.out_of_domain ? "out" : "in", row.before, row.loss, row.difference, row.sigma);
    text += row.worse ? palette.worse(line + "  worse") + "\n" : line + "\n";
  }
  for (const auto &[name, mean] : {std::pair("in domain", report.in_domain), std::pair("out of domain", report.out_of_domain)}) {
    if (mean.sources == 0) continue;
    text += fmt::format("  {}  {:>6}  {:>8.4f}  {:>8.4f}  {:>+8.4f}\n", padded(name, width), "mean", mean.before, mean.loss,
                        mean.loss - mean.before);
  }
  return text;
}

std::string EvaluationTables::change(double now, double before) const {
  if (std::isnan(before)) return std::string(8, ' ');
  const std::string text = fmt::format("{:>+8.4f}", now - before);
  return now < before ? palette_.better(text) : now > before ? palette_.worse(text) : text;
}

std::string EvaluationTables::next(const EvaluationReport &report) {
  const size_t width = widest_source(report.rows);
  std::string text = palette_.strong(fmt::format("held-out loss at step {}, {} tokens", step_text(report.step),
                                                 count_text(static_cast<double>(report.tokens)))) +
                     "\n";
  text += fmt::format("  {}  {:>17}  {:>17}  {:>8}\n", padded("source", width), "nats/token", "nats/byte", "tokens");
  for (const auto &row : report.rows) {
    const auto found = previous_.find(row.source);
    const double unknown = std::numeric_limits<double>::quiet_NaN();
    const bool known = found != previous_.end();
    text +=
        fmt::format("  {}  {:>8.4f} {}  {:>8.4f} {}  {:>8}\n", padded(printable(row.source), width), row.loss_per_token,
                    change(row.loss_per_token, known ? found->second.loss_per_token : unknown), row.loss_per_byte,
                    change(row.loss_per_byte, known ? found->second.loss_per_byte : unknown), count_text(static_cast<double>(row.tokens)));
    previous_[row.source] = row;
  }
  return text;
}

}  // namespace trainhost
