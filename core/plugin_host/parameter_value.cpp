#include "plugin_host/parameter_value.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "recipe/reader.h"

namespace trainhost {
namespace {

struct Shown {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(const std::string &value) const { return '"' + value + '"'; }
};

std::string_view expected(ParameterType type) {
  switch (type) {
    case ParameterType::kInteger:
      return "an integer";
    case ParameterType::kNumber:
      return "a number";
    case ParameterType::kBoolean:
      return "true or false";
    case ParameterType::kString:
      return "a string";
    case ParameterType::kAmount:
      return "an amount such as \"500 steps\", \"2M tokens\" or \"10%\"";
  }
  return "";
}

bool has_type(ParameterType type, ParameterValue &value) {
  if (const auto *integer = std::get_if<int64_t>(&value); integer != nullptr && type == ParameterType::kNumber) {
    value = static_cast<double>(*integer);
  }
  switch (type) {
    case ParameterType::kInteger:
      return std::holds_alternative<int64_t>(value);
    case ParameterType::kNumber:
      return std::holds_alternative<double>(value);
    case ParameterType::kBoolean:
      return std::holds_alternative<bool>(value);
    case ParameterType::kString:
    case ParameterType::kAmount:
      return std::holds_alternative<std::string>(value);
  }
  return false;
}

std::string bounds(const ParameterSpec &spec) {
  const std::string low = spec.minimum ? fmt::format("{} {}", spec.exclusive_minimum ? "above" : "at least", *spec.minimum) : "";
  const std::string high = spec.maximum ? fmt::format("at most {}", *spec.maximum) : "";
  return low + (low.empty() || high.empty() ? "" : " and ") + high;
}

bool is_within(const ParameterSpec &spec, double number) {
  if (spec.minimum && (spec.exclusive_minimum ? number <= *spec.minimum : number < *spec.minimum)) return false;
  return !spec.maximum || number <= *spec.maximum;
}

std::optional<std::string> check_number(const ParameterSpec &spec, double number, const ParameterValue &value) {
  if (!std::isfinite(number)) return "must be a finite number, found " + std::visit(Shown{}, value);
  if (!is_within(spec, number)) return "must be " + bounds(spec) + ", found " + std::visit(Shown{}, value);
  return std::nullopt;
}

std::optional<std::string> check_choice(const ParameterSpec &spec, const std::string &text) {
  if (spec.choices.empty() || std::ranges::find(spec.choices, text) != spec.choices.end()) return std::nullopt;
  std::string message = fmt::format("must be one of \"{}\", found \"{}\"", fmt::join(spec.choices, "\", \""), text);
  if (const std::string nearest = nearest_name(text, spec.choices); !nearest.empty()) message += "; did you mean \"" + nearest + "\"?";
  return message;
}

}  // namespace

std::optional<std::string> check_value(const ParameterSpec &spec, ParameterValue &value) {
  if (!has_type(spec.type, value)) return fmt::format("must be {}, found {}", expected(spec.type), std::visit(Shown{}, value));
  switch (spec.type) {
    case ParameterType::kInteger:
      return check_number(spec, static_cast<double>(std::get<int64_t>(value)), value);
    case ParameterType::kNumber:
      return check_number(spec, std::get<double>(value), value);
    case ParameterType::kString:
      return check_choice(spec, std::get<std::string>(value));
    case ParameterType::kAmount:
      if (const auto amount = parse_amount(std::get<std::string>(value)))
        return check_number(spec, amount->value, value);
      else
        return "is no amount: " + amount.error();
    case ParameterType::kBoolean:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace trainhost
