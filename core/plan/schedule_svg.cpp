#include "plan/schedule_svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include <fmt/format.h>

#include "metrics/quantities.h"

namespace trainhost {
namespace {

constexpr double kWidth = 960, kLeft = 90, kRight = 30, kTop = 64, kGap = 62;
constexpr double kRateHeight = 240, kMixHeight = 200, kBatchHeight = 120, kLegendRow = 20;
constexpr size_t kLegendColumns = 4;

// Colours that can also be told apart by people who see red and green alike (Okabe and Ito, 2008).
constexpr std::array<std::string_view, 8> kColours{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f"};

std::string escaped(std::string_view text) {
  std::string xml;
  for (const char character : text) {
    switch (character) {
      case '&':
        xml += "&amp;";
        break;
      case '<':
        xml += "&lt;";
        break;
      case '>':
        xml += "&gt;";
        break;
      case '"':
        xml += "&quot;";
        break;
      default:
        xml += character;
    }
  }
  return xml;
}

// Multiples of a round number, from 0 to `most`: about five.
std::vector<double> ticks(double most) {
  const double power = std::pow(10, std::floor(std::log10(most / 4)));
  double step = power;
  for (const double digit : {2.0, 2.5, 5.0})
    if (digit * power <= most / 4 * (1 + 1e-9)) step = digit * power;
  std::vector<double> places;
  for (double place = 0; place <= most * (1 + 1e-9); place = step * static_cast<double>(places.size())) places.push_back(place);
  return places;
}

// A plot with its own height axis, from 0 to `most`.
struct Panel {
  double top, height, most;
  double y(double value) const { return top + height * (1 - value / most); }
  double bottom() const { return top + height; }
};

class Picture {
 public:
  explicit Picture(const SchedulePlan &plan) : plan_(plan) {}

  double x(uint64_t tokens) const {
    return kLeft + (kWidth - kLeft - kRight) * static_cast<double>(tokens) / static_cast<double>(plan_.total_tokens());
  }
  uint64_t end_of(size_t point) const { return point + 1 < plan_.points.size() ? plan_.points[point + 1].tokens : plan_.total_tokens(); }

  void text(double at_x, double at_y, std::string_view anchor, std::string_view words, std::string_view more = "") {
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", at_x, at_y, anchor, more, escaped(words));
  }
  void line(double x1, double y1, double x2, double y2, std::string_view style) {
    body_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2, y2, style);
  }
  void box(double at_x, double at_y, std::string_view colour) {
    body_ += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"12\" fill=\"{}\"/>\n", at_x, at_y, colour);
  }

  void frame(const Panel &panel, std::string_view title, const std::function<std::string(double)> &written) {
    text(kLeft, panel.top - 10, "start", title, " class=\"title\"");
    for (const double value : ticks(panel.most)) {
      line(kLeft, panel.y(value), kWidth - kRight, panel.y(value), value == 0 ? "axis" : "grid");
      text(kLeft - 8, panel.y(value) + 4, "end", written(value));
    }
    line(kLeft, panel.top, kLeft, panel.bottom(), "axis");
    for (const double tokens : ticks(static_cast<double>(plan_.total_tokens())))
      text(x(static_cast<uint64_t>(tokens)), panel.bottom() + 18, "middle", count_text(tokens));
    text(kWidth - kRight, panel.bottom() + 34, "end", "tokens");
    for (const auto &phase : plan_.phases) {
      if (phase.first_token > 0) line(x(phase.first_token), panel.top, x(phase.first_token), panel.bottom(), "border");
    }
  }

  void phase_names(double at_y) {
    for (const auto &phase : plan_.phases) text((x(phase.first_token) + x(phase.end_token)) / 2, at_y, "middle", phase.name);
  }

  // A value holds until the next one.
  void curve(const Panel &panel, std::string_view name, const std::function<double(const SchedulePlan::Point &)> &quantity) {
    std::string points;
    for (size_t i = 0; i < plan_.points.size(); ++i) {
      const double y = panel.y(quantity(plan_.points[i]));
      points += fmt::format("{:.2f},{:.2f} {:.2f},{:.2f} ", x(plan_.points[i].tokens), y, x(end_of(i)), y);
    }
    points.pop_back();
    body_ += fmt::format("<polyline class=\"series\" data-series=\"{}\" fill=\"none\" stroke=\"{}\" points=\"{}\"/>\n", escaped(name),
                         kColours[0], points);
  }

  // What lies between two heights in each step.
  void area(const Panel &panel, std::string_view name, std::string_view colour, const std::vector<double> &low,
            const std::vector<double> &high) {
    std::string there, back;
    for (size_t i = 0; i < plan_.points.size(); ++i) {
      const double from = x(plan_.points[i].tokens), to = x(end_of(i));
      there += fmt::format("{:.2f},{:.2f} {:.2f},{:.2f} ", from, panel.y(high[i]), to, panel.y(high[i]));
      back = fmt::format("{:.2f},{:.2f} {:.2f},{:.2f} ", to, panel.y(low[i]), from, panel.y(low[i])) + back;
    }
    back.pop_back();
    body_ +=
        fmt::format("<polygon class=\"series\" data-series=\"{}\" fill=\"{}\" points=\"{}{}\"/>\n", escaped(name), colour, there, back);
  }

  std::string document(double height) const {
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" "
        "font-size=\"12\" fill=\"#222222\">\n"
        "<style>.title{{font-size:14px;font-weight:bold}}.axis{{stroke:#222222}}.grid{{stroke:#dddddd}}"
        ".border{{stroke:#222222;stroke-dasharray:4 3}}polyline.series{{stroke-width:2}}</style>\n"
        "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n{2}</svg>\n",
        kWidth, height, body_);
  }

 private:
  const SchedulePlan &plan_;
  std::string body_;
};

std::string_view colour_of(size_t source) { return kColours[source % kColours.size()]; }

void draw_mix(const SchedulePlan &plan, const Panel &panel, Picture &picture) {
  std::vector<double> low(plan.points.size(), 0), high = low;
  for (size_t source = 0; source < plan.sources.size(); ++source) {
    for (size_t i = 0; i < plan.points.size(); ++i) high[i] = std::min(1.0, low[i] + plan.points[i].mix[source]);
    picture.area(panel, plan.sources[source], colour_of(source), low, high);
    low = high;
  }
}

void draw_legend(const SchedulePlan &plan, double top, Picture &picture) {
  const double column = (kWidth - kLeft - kRight) / kLegendColumns;
  for (size_t source = 0; source < plan.sources.size(); ++source) {
    const double x = kLeft + column * static_cast<double>(source % kLegendColumns);
    const double y = top + kLegendRow * static_cast<double>(source / kLegendColumns);
    picture.box(x, y, colour_of(source));
    picture.text(x + 18, y + 10, "start", plan.sources[source]);
  }
}

double largest(const SchedulePlan &plan, const std::function<double(const SchedulePlan::Point &)> &quantity) {
  double most = 0;
  for (const auto &point : plan.points) most = std::max(most, quantity(point));
  return most > 0 ? most : 1;
}

}  // namespace

std::string schedule_svg(const SchedulePlan &plan, const std::string &title) {
  const auto rate = [](const SchedulePlan::Point &point) { return point.learning_rate; };
  const auto batch = [](const SchedulePlan::Point &point) { return static_cast<double>(point.batch_tokens); };
  const auto legend_rows = static_cast<double>((plan.sources.size() + kLegendColumns - 1) / kLegendColumns);
  const Panel rates{kTop + 40, kRateHeight, largest(plan, rate)}, mix{rates.bottom() + kGap, kMixHeight, 1};
  const double legend = mix.bottom() + 44;
  const Panel batches{legend + kLegendRow * legend_rows + 30, kBatchHeight, largest(plan, batch)};

  Picture picture(plan);
  picture.text(kLeft, 28, "start", title, " font-size=\"16\" font-weight=\"bold\"");
  picture.phase_names(kTop);
  picture.frame(rates, "learning rate", [](double value) { return fmt::format("{:.3g}", value); });
  picture.curve(rates, "learning rate", rate);
  draw_mix(plan, mix, picture);
  picture.frame(mix, "mix: share of each source", [](double value) { return fmt::format("{:.0f}%", 100 * value); });
  draw_legend(plan, legend, picture);
  picture.frame(batches, "batch, in tokens a step", count_text);
  picture.curve(batches, "batch", batch);
  return picture.document(batches.bottom() + 50);
}

}  // namespace trainhost
