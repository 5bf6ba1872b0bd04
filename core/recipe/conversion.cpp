#include "recipe/conversion.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <vector>

#include <fmt/format.h>

#include "recipe/fields.h"
#include "recipe/quotation.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

template <class Number>
std::string range(Number minimum, Number maximum, Number unlimited) {
  return maximum < unlimited ? fmt::format("from {} to {}", minimum, maximum) : fmt::format("of at least {}", minimum);
}

bool has_control_characters(const std::string &text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char byte) { return byte < 0x20 || byte == 0x7f; });
}

std::optional<double> finite_number(const Value &value) {
  if (const auto *integer = std::get_if<int64_t>(&value.data)) return static_cast<double>(*integer);
  if (const auto *number = std::get_if<double>(&value.data); number && std::isfinite(*number)) return *number;
  return std::nullopt;
}

}  // namespace

tl::unexpected<std::string> unlike(const std::string &expected, const Value &found, const std::string &hint) {
  return tl::unexpected(fmt::format("expected {}, found {}{}", expected, description(found), hint));
}

Converted<bool> to_boolean(const Value &value) {
  if (const auto *boolean = std::get_if<bool>(&value.data)) return *boolean;
  return unlike("true or false", value);
}

Converted<uint64_t> to_integer(const Value &value, uint64_t minimum, uint64_t maximum) {
  const auto *integer = std::get_if<int64_t>(&value.data);
  if (integer && *integer >= 0 && static_cast<uint64_t>(*integer) >= minimum && static_cast<uint64_t>(*integer) <= maximum)
    return static_cast<uint64_t>(*integer);
  return unlike("an integer " + range(minimum, maximum, kLargestInteger), value);
}

Converted<double> to_number(const Value &value, double minimum, double maximum) {
  const std::optional<double> number = finite_number(value);
  if (number && *number >= minimum && *number <= maximum) return *number;
  return unlike("a finite number " + range(minimum, maximum, std::numeric_limits<double>::infinity()), value);
}

Converted<double> to_share(const Value &value, double minimum, double maximum) {
  std::optional<double> share = finite_number(value);
  if (const auto *text = std::get_if<std::string>(&value.data))
    if (const auto amount = parse_amount(*text); amount && amount->unit == Amount::Unit::kShare) share = amount->value;
  if (share && *share >= minimum && *share <= maximum) return *share;
  return unlike(fmt::format("a share from {0} to {1}, or from \"{2}%\" to \"{3}%\"", minimum, maximum, minimum * 100, maximum * 100),
                value);
}

Converted<uint64_t> to_tokens(const Value &value, uint64_t minimum, uint64_t maximum, const std::string &alternative) {
  double tokens = -1;
  if (const auto *integer = std::get_if<int64_t>(&value.data)) tokens = static_cast<double>(*integer);
  if (const auto *text = std::get_if<std::string>(&value.data))
    if (const auto amount = parse_amount(*text); amount && amount->unit == Amount::Unit::kTokens) tokens = amount->value;
  if (tokens == std::floor(tokens) && tokens >= static_cast<double>(minimum) && tokens <= static_cast<double>(maximum))
    return static_cast<uint64_t>(tokens);
  return unlike(fmt::format("a whole number of tokens from {} to {}, such as 8192 or \"8Ki tokens\"{}", minimum, maximum, alternative),
                value);
}

Converted<uint64_t> to_bytes(const Value &value, const std::string &alternative) {
  std::optional<double> bytes;
  if (const auto *integer = std::get_if<int64_t>(&value.data)) bytes = static_cast<double>(*integer);
  if (const auto *text = std::get_if<std::string>(&value.data)) bytes = parse_bytes(*text);
  if (bytes && *bytes >= 1 && *bytes <= static_cast<double>(kMostBytes)) return static_cast<uint64_t>(*bytes);
  return unlike(fmt::format("an amount of memory such as \"20GiB\" or \"512MB\"{}", alternative), value);
}

Converted<uint64_t> to_parameter_count(const Value &value) {
  std::optional<double> count;
  if (const auto *integer = std::get_if<int64_t>(&value.data)) count = static_cast<double>(*integer);
  if (const auto *text = std::get_if<std::string>(&value.data)) count = parse_count(*text);
  if (count && *count == std::floor(*count) && *count >= 1 && *count <= static_cast<double>(kMostParameters))
    return static_cast<uint64_t>(*count);
  return unlike(fmt::format("a number of parameters from 1 to {}, such as 36000000 or \"36M\"", kMostParameters), value);
}

Converted<Amount> to_amount(const Value &value) {
  const auto *text = std::get_if<std::string>(&value.data);
  if (!text) return unlike("an amount such as \"500 steps\", \"2M tokens\" or \"10%\"", value);
  auto amount = parse_amount(*text);
  if (!amount) return amount;
  amount->position = value.position;
  switch (amount->unit) {
    case Amount::Unit::kShare:
      if (amount->value > 0 && amount->value <= 1) return amount;
      return unlike("a share of the run above 0% and up to 100%", value);
    case Amount::Unit::kSteps:
      if (amount->value == std::floor(amount->value) && amount->value >= 1 && amount->value <= kMostSteps) return amount;
      return unlike(fmt::format("a whole number of steps from 1 to {}", kMostSteps), value);
    case Amount::Unit::kTokens:
      break;
  }
  if (amount->value == std::floor(amount->value) && amount->value >= 1 && amount->value <= kMostTokens) return amount;
  return unlike(fmt::format("a whole number of tokens from 1 to {}", kMostTokens), value);
}

Converted<std::string> to_text(const Value &value) {
  if (const auto *text = std::get_if<std::string>(&value.data)) return *text;
  return unlike("a string", value);
}

Converted<std::string> to_name(const Value &value) {
  constexpr size_t kLongestName = 64;
  const auto *name = std::get_if<std::string>(&value.data);
  const bool fit = name && !name->empty() && name->size() <= kLongestName && name->front() != '.' && name->front() != ' ' &&
                   name->back() != ' ' && name->find_first_of("/\\") == std::string::npos && !has_control_characters(*name);
  if (fit) return *name;
  return unlike("a name that a folder can have (1 to 64 bytes, no / or \\, no control characters, no dot or space at its front)", value);
}

Converted<std::string> to_choice(const Value &value, std::initializer_list<const char *> choices) {
  const auto *text = std::get_if<std::string>(&value.data);
  const std::vector<std::string> known(choices.begin(), choices.end());
  if (text && std::find(known.begin(), known.end(), *text) != known.end()) return *text;
  std::string expected;
  for (size_t i = 0; i < known.size(); ++i) {
    const char *separator = i == 0 ? "" : i + 1 == known.size() ? " or " : ", ";
    expected += separator + quotation(known[i]);
  }
  const std::string nearest = text ? nearest_name(*text, known) : "";
  return unlike(expected, value, nearest.empty() ? "" : "; did you mean " + quotation(nearest) + "?");
}

Converted<std::string> to_path(const Value &value, const std::string &folder) {
  const auto *path = std::get_if<std::string>(&value.data);
  if (!path || path->empty() || has_control_characters(*path)) return unlike("a path (not empty, no control characters)", value);
  return (std::filesystem::path(folder) / *path).lexically_normal().string();
}

Converted<std::string> to_sha256(const Value &value) {
  constexpr std::string_view kPrefix = "sha256:";
  const auto *text = std::get_if<std::string>(&value.data);
  const std::string digits = text && text->starts_with(kPrefix) ? text->substr(kPrefix.size()) : "";
  if (digits.size() == 64 && digits.find_first_not_of("0123456789abcdef") == std::string::npos) return digits;
  return unlike("\"sha256:\" and 64 hexadecimal digits, as trainhost plugins NAME shows them", value);
}

Converted<ParameterValue> to_parameter(const Value &value) {
  if (const auto *text = std::get_if<std::string>(&value.data)) return *text;
  if (const auto *boolean = std::get_if<bool>(&value.data)) return *boolean;
  if (const auto *integer = std::get_if<int64_t>(&value.data)) return *integer;
  if (const auto *number = std::get_if<double>(&value.data); number && std::isfinite(*number)) return *number;
  return unlike("a string, a finite number, or true or false", value);
}

Converted<std::string> expand_environment(const std::string &text) {
  std::string expanded;
  size_t from = 0;
  for (size_t start; (start = text.find("${", from)) != std::string::npos;) {
    const size_t end = text.find('}', start);
    if (end == std::string::npos) return tl::unexpected(fmt::format("`}}` is missing after `${{` in {}", short_quotation(text)));
    const std::string name = text.substr(start + 2, end - start - 2);
    const char *variable = std::getenv(name.c_str());
    if (!variable) return tl::unexpected(fmt::format("the environment variable {} is not set", short_quotation(name)));
    if (std::string_view(variable).find("${") != std::string_view::npos)  // the resolved recipe would expand it again
      return tl::unexpected(fmt::format("the environment variable {} holds `${{` itself", short_quotation(name)));
    expanded += text.substr(from, start - from) + variable;
    from = end + 1;
  }
  return expanded + text.substr(from);
}

}  // namespace trainhost
