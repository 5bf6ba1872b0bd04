#include "plan/schedule_text.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

#include <fmt/format.h>

#include "metrics/quantities.h"
#include "metrics/utf8_text.h"

namespace trainhost {
namespace {

constexpr size_t kLabel = 11, kWidth = 68;  // columns left of the plot, and of the plot

// What a plot is drawn with: ever fuller characters from empty to full, and the axis.
struct Characters {
  std::span<const std::string_view> fill;
  std::string_view side, corner, line, border;
};
constexpr std::string_view kBlocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}, kAscii[] = {" ", ".", ":", "#"};
constexpr Characters kUnicodeCharacters{kBlocks, "│", "└", "─", "┴"}, kAsciiCharacters{kAscii, "|", "+", "-", "+"};

// The first `width` columns; names are whole characters.
std::string cut(std::string_view text, size_t width) {
  size_t bytes = 0;
  for (size_t taken = 0; bytes < text.size(); ++bytes) {
    if ((text[bytes] & 0xC0) != 0x80 && taken++ == width) break;
  }
  return std::string(text.substr(0, bytes));
}

std::string padded(const std::string &text, size_t width) { return text + std::string(width - std::min(width, columns(text)), ' '); }

// A row of text with pieces at given columns; what does not fit is cut, or left out.
class Row {
 public:
  void put(size_t column, const std::string &text, size_t width) {
    if (column < end_ || width == 0) return;
    text_ = padded(text_, column) + cut(text, width);
    end_ = columns(text_) + 1;
  }
  const std::string &text() const { return text_; }

 private:
  std::string text_;
  size_t end_ = 0;
};

class Drawing {
 public:
  Drawing(const SchedulePlan &plan, const Characters &characters) : plan_(plan), characters_(characters) {}

  // height: of the columns' values, each from 0 to 1, in rows.
  void bars(const std::vector<double> &values, size_t height, const std::string &top) {
    for (size_t row = 0; row < height; ++row) {
      start_row(row == 0 ? top : row + 1 == height ? "0" : "");
      const double below = static_cast<double>(height - 1 - row);
      for (const double value : values) text_ += fill(value * static_cast<double>(height) - below);
      end_row();
    }
  }

  // One row, in which even a small value shows, with the value in percent where a phase begins.
  void shares(const std::vector<double> &values, const std::string &name) {
    std::vector<std::string> cells;
    for (const double value : values) cells.emplace_back(value > 0 ? fill(std::max(value, smallest())) : " ");
    for (size_t phase = 0; phase < plan_.phases.size(); ++phase) {
      const size_t first = column_of(phase);
      const std::string percent = first < kWidth ? fmt::format("{:.3g}% ", 100 * values[first]) : "";
      if (percent.size() + 1 > column_of(phase + 1) - first || values[first] == 0) continue;
      for (size_t i = 0; i < percent.size(); ++i) cells[first + i] = percent[i];
    }
    start_row(cut(name, kLabel - 2));
    for (const std::string &cell : cells) text_ += cell;
    end_row();
  }

  // The token axis below a plot: phases' borders, where they are, and their names.
  void axis() {
    std::string line;
    for (size_t column = 0; column < kWidth; ++column) line += is_border(column) ? characters_.border : characters_.line;
    text_ += std::string(kLabel - 1, ' ') + std::string(characters_.corner) + line + "\n";
    Row places, names;
    const std::string end = count_text(static_cast<double>(plan_.total_tokens()));
    places.put(kLabel, "0 tokens", kWidth);
    for (size_t phase = 0; phase < plan_.phases.size(); ++phase) {
      const size_t first = column_of(phase), width = column_of(phase + 1) - first;
      const std::string place = count_text(static_cast<double>(plan_.phases[phase].first_token));
      if (first + place.size() + end.size() < kWidth) places.put(kLabel + first, place, place.size());
      names.put(kLabel + first, plan_.phases[phase].name, width);
    }
    places.put(kLabel + kWidth - end.size(), end, end.size());
    text_ += places.text() + "\n" + names.text() + "\n";
  }

  void title(const std::string &text) { text_ += (text_.empty() ? "" : "\n") + text + "\n"; }
  std::string take() { return std::move(text_); }

  // What the quantity is in the middle of each column.
  std::vector<double> sampled(const std::function<double(const SchedulePlan::Point &)> &quantity) const {
    std::vector<double> values;
    for (size_t column = 0; column < kWidth; ++column) {
      const double middle = (static_cast<double>(column) + 0.5) / kWidth * static_cast<double>(plan_.total_tokens());
      const auto next =
          std::ranges::upper_bound(plan_.points, middle, {}, [](const auto &point) { return static_cast<double>(point.tokens); });
      values.push_back(quantity(*std::prev(next)));
    }
    return values;
  }

 private:
  void start_row(const std::string &label) {
    text_ += std::string(kLabel - 2 - std::min(kLabel - 2, columns(label)), ' ') + label + " " + std::string(characters_.side);
  }

  void end_row() {
    text_.resize(text_.find_last_not_of(' ') + 1);
    text_ += "\n";
  }

  double smallest() const { return 1 / static_cast<double>(characters_.fill.size() - 1); }
  std::string_view fill(double share) const {
    const double last = static_cast<double>(characters_.fill.size() - 1);
    return characters_.fill[static_cast<size_t>(std::lround(std::clamp(share, 0.0, 1.0) * last))];
  }

  // Where a phase begins; of the one after the last, the end.
  size_t column_of(size_t phase) const {
    if (phase == plan_.phases.size()) return kWidth;
    const double share = static_cast<double>(plan_.phases[phase].first_token) / static_cast<double>(plan_.total_tokens());
    return static_cast<size_t>(std::lround(share * kWidth));
  }
  bool is_border(size_t column) const {
    for (size_t phase = 1; phase < plan_.phases.size(); ++phase)
      if (column_of(phase) == column) return true;
    return false;
  }

  const SchedulePlan &plan_;
  const Characters &characters_;
  std::string text_;
};

double largest(const SchedulePlan &plan, const std::function<double(const SchedulePlan::Point &)> &quantity) {
  double most = 0;
  for (const auto &point : plan.points) most = std::max(most, quantity(point));
  return most;
}

// Bars of a quantity from 0 to its largest value.
void draw(const SchedulePlan &plan, Drawing &drawing, size_t height, const std::function<double(const SchedulePlan::Point &)> &quantity,
          const std::function<std::string(double)> &written) {
  const double most = largest(plan, quantity);
  drawing.bars(drawing.sampled([&](const auto &point) { return most > 0 ? quantity(point) / most : 0; }), height, written(most));
  drawing.axis();
}

}  // namespace

std::string schedule_text(const SchedulePlan &plan, bool blocks) {
  Drawing drawing(plan, blocks ? kUnicodeCharacters : kAsciiCharacters);
  drawing.title("learning rate");
  draw(
      plan, drawing, 8, [](const auto &point) { return point.learning_rate; }, [](double most) { return fmt::format("{:.3g}", most); });
  drawing.title("mix");
  for (size_t source = 0; source < plan.sources.size(); ++source)
    drawing.shares(drawing.sampled([&](const auto &point) { return point.mix[source]; }), plan.sources[source]);
  drawing.axis();
  drawing.title("batch, in tokens a step");
  draw(
      plan, drawing, 4, [](const auto &point) { return static_cast<double>(point.batch_tokens); }, count_text);
  return drawing.take();
}

}  // namespace trainhost
