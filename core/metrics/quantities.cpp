#include "metrics/quantities.h"

#include <array>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

namespace trainhost {
namespace {

// The value in the first unit, 1000 times the one before, in which it shows fewer than four digits before the point.
std::string scaled(double value, std::array<std::string_view, 5> units) {
  size_t unit = 0;
  while (unit + 1 < units.size() && value >= (unit == 0 ? 999.5 : 999.95)) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f}{}", value, units[0]) : fmt::format("{:.1f}{}", value, units[unit]);
}

}  // namespace

std::string count_text(double count) { return scaled(count, {"", "k", "M", "B", "T"}); }

std::string bytes_text(uint64_t bytes) { return scaled(static_cast<double>(bytes), {" B", " kB", " MB", " GB", " TB"}); }

std::string duration_text(double seconds) {
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<uint64_t>(std::llround(seconds));
  const uint64_t minutes = whole / 60, hours = minutes / 60;
  if (minutes == 0) return fmt::format("{}s", whole);
  if (hours == 0) return fmt::format("{}m {:02}s", minutes, whole % 60);
  if (hours < 24) return fmt::format("{}h {:02}m", hours, minutes % 60);
  return fmt::format("{}d {:02}h", hours / 24, hours % 24);
}

std::string percent_text(double done, double total) { return fmt::format("{:.0f}%", total > 0 ? std::floor(100 * done / total) : 100.0); }

std::string step_text(uint64_t step) {
  std::string digits = std::to_string(step);
  for (size_t place = digits.size(); place > 3;) digits.insert(place -= 3, ",");
  return digits;
}

}  // namespace trainhost
