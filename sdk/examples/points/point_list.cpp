#include "point_list.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

namespace {

using trainhost::sdk::Config;
using trainhost::sdk::Failure;

// points = point *("," point)
// point  = position ":" value
// with spaces wherever they please. What a position may be, the host knows.
class Parser {
 public:
  Parser(const Config &config, std::string_view text, double run_tokens) : config_(config), text_(text), run_tokens_(run_tokens) {}

  std::vector<Point> points() {
    std::vector<Point> points;
    do {
      skip_spaces();
      const size_t start = at_;
      const double tokens = position();
      check_order(points, tokens, start);
      expect(':', "\":\" between position and value");
      points.push_back({tokens, number("a value, as 0.5")});
    } while (accept(','));
    if (at_ < text_.size()) refuse(at_, "\",\" and another point, or the end");
    if (points.size() < 2) refuse(at_, "\",\" and another point: a curve needs two");
    return points;
  }

 private:
  double position() {
    const size_t start = at_, end = std::min(text_.find_first_of(":,", at_), text_.size());
    const std::string_view amount = text_.substr(start, text_.find_last_not_of(" \t\n", end == 0 ? 0 : end - 1) + 1 - start);
    at_ = end;
    try {
      return config_.resolve_amount(amount);
    } catch (const Failure &) {
      refuse(start, "a position, as 2%, 500 steps or 5M tokens");
    }
  }

  void check_order(const std::vector<Point> &points, double tokens, size_t start) const {
    if (tokens > run_tokens_)
      refuse(start, "a position within the run's " + std::to_string(static_cast<uint64_t>(run_tokens_)) + " tokens");
    if (!points.empty() && tokens <= points.back().tokens) refuse(start, "a position after the one before it");
  }

  double number(const char *what) {
    skip_spaces();
    double value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc() || !std::isfinite(value) || std::signbit(value)) refuse(at_, std::string(what) + ", not negative");
    at_ = static_cast<size_t>(end - text_.data());
    return value;
  }

  bool accept(char wanted) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void expect(char wanted, const std::string &what) {
    if (!accept(wanted)) refuse(at_, what);
  }

  void skip_spaces() { at_ = std::min(text_.find_first_not_of(" \t\n", at_), text_.size()); }

  [[noreturn]] void refuse(size_t at, const std::string &expected) const {
    const std::string found = at == text_.size() ? "the end" : "\"" + std::string(text_.substr(at, 12)) + "\"";
    throw Failure(TH_INVALID, "points, character " + std::to_string(at + 1) + ": found " + found + ", expected " + expected);
  }

  const Config &config_;
  std::string_view text_;
  double run_tokens_;
  size_t at_ = 0;
};

}  // namespace

std::vector<Point> parse_points(const Config &config, std::string_view text, double run_tokens) {
  return Parser(config, text, run_tokens).points();
}
