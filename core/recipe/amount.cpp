#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "recipe/quotation.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

struct Suffix {
  std::string_view name;
  double factor;
};
constexpr std::array<Suffix, 8> kSuffixes{
    {{"", 1}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"Ki", 1024}, {"Mi", 1024 * 1024}, {"Gi", 1024 * 1024 * 1024}}};

constexpr std::string_view kDigits = "0123456789";

// Takes the characters of `set` from the front of `rest`.
std::string_view take(std::string_view &rest, std::string_view set) {
  const std::string_view taken = rest.substr(0, std::min(rest.find_first_not_of(set), rest.size()));
  rest.remove_prefix(taken.size());
  return taken;
}

// Takes "12" or "1.5"; no sign, no exponent. NaN when there is none.
double take_number(std::string_view &rest) {
  const std::string_view start = rest;
  if (take(rest, kDigits).empty()) return NAN;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    if (take(rest, kDigits).empty()) return NAN;
  }
  double number = NAN;
  std::from_chars(start.data(), rest.data(), number);
  return number;
}

// "1.1M" is 1100000, not 1100000.0000000002.
double without_rounding_error(double value) {
  const double whole = std::round(value);
  return std::abs(value - whole) <= 1e-12 * whole ? whole : value;
}

}  // namespace

tl::expected<Amount, std::string> parse_amount(const std::string &text) {
  const auto refuse = [&text](const std::string &reason) {
    return tl::unexpected("expected an amount such as \"500 steps\", \"2M tokens\" or \"10%\", found " + short_quotation(text) + reason);
  };
  std::string_view rest = text;
  const double number = take_number(rest);
  if (!std::isfinite(number)) return refuse("");
  Amount amount;
  amount.text = text;

  const std::string_view before_spaces = rest;
  take(rest, " ");
  if (rest == "%") {
    amount.value = number / 100;
    amount.unit = Amount::Unit::kShare;
    return amount;
  }
  rest = before_spaces;
  const std::string suffix(rest.substr(0, std::min(rest.find(' '), rest.size())));
  rest.remove_prefix(suffix.size());
  take(rest, " ");
  const std::string unit(rest);
  if (unit == "steps" || unit == "step")
    amount.unit = Amount::Unit::kSteps;
  else if (unit == "tokens" || unit == "token")
    amount.unit = Amount::Unit::kTokens;
  else if (unit.empty())
    return refuse(" without a unit");
  else {
    const std::string near = nearest_name(unit, {"steps", "tokens"});
    return refuse(near.empty() ? "" : "; did you mean \"" + near + "\"?");
  }
  for (const Suffix &known : kSuffixes)
    if (suffix == known.name) {
      amount.value = without_rounding_error(number * known.factor);
      return amount;
    }
  return refuse(": the suffixes are k, M, G, T, Ki, Mi and Gi");
}

std::optional<double> parse_count(const std::string &text) {
  std::string_view rest = text;
  const double number = take_number(rest);
  take(rest, " ");
  if (!std::isfinite(number)) return std::nullopt;
  for (const Suffix &known : kSuffixes) {
    if (rest == known.name) return without_rounding_error(number * known.factor);
  }
  return std::nullopt;
}

std::optional<double> parse_bytes(const std::string &text) {
  if (!text.ends_with('B')) return std::nullopt;
  return parse_count(text.substr(0, text.size() - 1));
}

}  // namespace trainhost
