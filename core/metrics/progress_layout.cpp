#include "metrics/progress_layout.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "metrics/quantities.h"
#include "metrics/utf8_text.h"

namespace trainhost {
namespace {

constexpr int kBarColumns = 20;

std::string bar(double share) {
  const int full = std::clamp(static_cast<int>(share * kBarColumns), 0, kBarColumns);
  std::string text;
  for (int i = 0; i < kBarColumns; ++i) text += i < full ? "━" : "─";
  return text;
}

struct Part {
  std::string text;
  int rank;  // parts of the highest rank are left out first
};

// The parts that fit, two spaces apart.
std::string fitted(std::vector<Part> parts, size_t width) {
  std::erase_if(parts, [](const Part &part) { return part.text.empty(); });
  const auto needed = [&] {
    size_t sum = parts.empty() ? 0 : 2 * (parts.size() - 1);
    for (const Part &part : parts) sum += columns(part.text);
    return sum;
  };
  while (parts.size() > 1 && needed() > width) parts.erase(std::ranges::max_element(parts, {}, &Part::rank));
  std::string line;
  for (const Part &part : parts) line += (line.empty() ? "" : "  ") + part.text;
  return needed() > width ? std::string() : line;
}

std::string left_text(double seconds) { return std::isfinite(seconds) ? duration_text(seconds) + " left" : ""; }

double share_of(uint64_t done, uint64_t total) { return total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total); }

std::string percent_of(uint64_t done, uint64_t total) { return percent_text(static_cast<double>(done), static_cast<double>(total)); }

}  // namespace

void Smoothed::add(double value) {
  if (!std::isfinite(value)) return;
  sum_ = 0.9 * sum_ + value;
  weight_ = 0.9 * weight_ + 1;
}

void RunProgress::observe(const StepReport &report) {
  last_ = report;
  stage_ = report.stage;
  last_.stage = last_.phase = {};  // the report's text is not ours to keep
  skipped_ += report.skipped;
  loss_.add(report.loss);
  tokens_per_second_.add(report.tokens_per_second);
}

double RunProgress::share() const { return share_of(last_.step, run_.total_steps); }

std::string RunProgress::steps_text() const { return step_text(last_.step) + "/" + step_text(run_.total_steps); }

std::string RunProgress::time_left() const {
  if (finished()) return "";
  const double tokens = static_cast<double>(run_.total_tokens) - static_cast<double>(last_.tokens);
  return left_text(std::max(tokens, 0.0) / tokens_per_second_.value());
}

std::string RunProgress::line(size_t width) const {
  return fitted({{stage_, 5},
                 {bar(share()), 6},
                 {percent_of(last_.step, run_.total_steps), 0},
                 {steps_text(), 4},
                 {fmt::format("loss {:.3f}", loss_.value()), 1},
                 {fmt::format("lr {:.2e}", last_.learning_rate), 7},
                 {count_text(tokens_per_second_.value()) + " tokens/s", 3},
                 {last_.utilisation > 0 ? fmt::format("{:.0f}% of peak", 100 * last_.utilisation) : "", 9},
                 {bytes_text(last_.peak_memory), 10},
                 {skipped_ > 0 ? fmt::format("{} skipped", skipped_) : "", 8},
                 {time_left(), 2}},
                width);
}

std::string RunProgress::plain_line() const {
  std::string text = fmt::format("step {} ({})  {}  loss {:.4f}  lr {:.3e}  gradient {:.3g}  {} tokens/s", steps_text(),
                                 percent_of(last_.step, run_.total_steps), stage_, last_.loss, last_.learning_rate, last_.gradient_norm,
                                 count_text(tokens_per_second_.value()));
  if (last_.utilisation > 0) text += fmt::format("  {:.0f}% of peak", 100 * last_.utilisation);
  text += "  " + bytes_text(last_.peak_memory);
  if (skipped_ > 0) text += fmt::format("  {} skipped", skipped_);
  const std::string left = time_left();
  return left.empty() ? text : text + "  " + left;
}

std::string work_line(std::string_view what, uint64_t done, uint64_t total, double seconds, size_t width) {
  const double share = share_of(done, total);
  return fitted({{printable(what), 2},
                 {bar(share), 3},
                 {percent_of(done, total), 0},
                 {count_text(static_cast<double>(done)) + "/" + count_text(static_cast<double>(total)), 4},
                 {done > 0 ? left_text(seconds * (1 - share) / share) : "", 1}},
                width);
}

std::string work_plain_line(std::string_view what, uint64_t done, uint64_t total, double seconds) {
  const std::string text = fmt::format("{}  {}  {}/{}", printable(what), percent_of(done, total), count_text(static_cast<double>(done)),
                                       count_text(static_cast<double>(total)));
  return done < total ? text : text + "  in " + duration_text(seconds);
}

}  // namespace trainhost
