#include "plugin_host/services/config.h"

#include <fmt/format.h>

#include "plugin_host/services/failure.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

template <class Value>
constexpr std::string_view kTypeName = "";
template <>
constexpr std::string_view kTypeName<int64_t> = "integer";
template <>
constexpr std::string_view kTypeName<double> = "number";
template <>
constexpr std::string_view kTypeName<bool> = "boolean";
template <>
constexpr std::string_view kTypeName<std::string> = "string";
template <>
constexpr std::string_view kTypeName<th_config::Amount> = "amount";

template <class Value>
const Value *find(const th_config *config, th_string name) {
  const std::string_view key(name.data, name.length);
  const auto found = config->values.find(key);
  const Value *value = found == config->values.end() ? nullptr : std::get_if<Value>(&found->second);
  if (value == nullptr)
    record_failure(config->host, TH_INTERNAL, fmt::format("its manifest has no {} parameter \"{}\"", kTypeName<Value>, key));
  return value;
}

template <class Value, class Out>
th_status get(const th_config *config, th_string name, Out *out) noexcept {
  const Value *value = find<Value>(config, name);
  if (value == nullptr) return TH_INTERNAL;
  *out = *value;
  return TH_OK;
}

th_status get_string(const th_config *config, th_string name, th_string *out) noexcept {
  const std::string *value = find<std::string>(config, name);
  if (value == nullptr) return TH_INTERNAL;
  *out = {value->data(), value->size()};
  return TH_OK;
}

th_status get_amount(const th_config *config, th_string name, double *out) noexcept {
  const auto *value = find<th_config::Amount>(config, name);
  if (value == nullptr) return TH_INTERNAL;
  *out = value->tokens;
  return TH_OK;
}

th_status resolve_amount(const th_config *config, th_string text, double *out) noexcept {
  const std::string written(text.data != nullptr ? text.data : "", text.length);
  const auto amount = parse_amount(written);
  if (amount && config->axis) {
    *out = config->axis->tokens_of(*amount);
    return TH_OK;
  }
  record_failure(config->host, TH_INVALID, amount ? fmt::format("there is no token axis to place \"{}\" on", written) : amount.error());
  return TH_INVALID;
}

Result<th_config::Value> resolve(const Manifest &manifest, const ParameterSpec &spec, const ParameterValue &value, const TokenAxis *axis) {
  if (spec.type != ParameterType::kAmount) return std::visit([](const auto &item) { return th_config::Value(item); }, value);
  const std::string &text = std::get<std::string>(value);
  const auto amount = parse_amount(text);
  if (!amount || axis == nullptr) {
    return failure(ErrorKind::kRecipe, fmt::format("{}: parameter \"{}\" = \"{}\": {}", describe(manifest), spec.name, text,
                                                   amount ? "there is no token axis to place it on" : amount.error()));
  }
  return th_config::Value(th_config::Amount{axis->tokens_of(*amount)});
}

}  // namespace

Result<th_config> make_config(const Manifest &manifest, const Parameters &parameters, const TokenAxis *axis) {
  th_config config;
  if (axis != nullptr) config.axis = *axis;
  for (const auto &spec : manifest.parameters) {
    const auto found = parameters.find(spec.name);
    if (found == parameters.end()) continue;
    TRAINHOST_TRY(auto value, resolve(manifest, spec, found->second.value, axis));
    config.values.emplace(spec.name, std::move(value));
  }
  return config;
}

void set_config_slots(th_host &table) {
  table.get_integer = get<int64_t, int64_t>;
  table.get_number = get<double, double>;
  table.get_boolean = get<bool, int32_t>;
  table.get_string = get_string;
  table.get_amount = get_amount;
  table.resolve_amount = resolve_amount;
}

}  // namespace trainhost
