#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "plugin_host/manifest.h"
#include "plugin_host/parameter_value.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

std::string owner(const Manifest &manifest) { return fmt::format("{} plugin \"{}\"", to_string(manifest.kind), manifest.name); }

std::string unknown_parameter(const Manifest &manifest, const std::string &name) {
  std::vector<std::string> known;
  for (const auto &spec : manifest.parameters) known.push_back(spec.name);
  const std::string nearest = nearest_name(name, known);
  const std::string hint = !nearest.empty() ? "; did you mean `" + nearest + "`?"
                           : known.empty()  ? "; it has none"
                                            : fmt::format("; it has {}", fmt::join(known, ", "));
  return fmt::format("unknown parameter `{}` of {}{}", name, owner(manifest), hint);
}

std::string missing_parameter(const Manifest &manifest, const ParameterSpec &spec) {
  return fmt::format("parameter `{}` ({}{}{}) of {} is required and not given", spec.name, to_string(spec.type),
                     spec.doc.empty() ? "" : ": ", spec.doc, owner(manifest));
}

}  // namespace

std::vector<RecipeError> check_parameters(const Manifest &manifest, Parameters &parameters, const Position &table, bool add_defaults) {
  std::vector<RecipeError> errors;
  for (auto &[name, parameter] : parameters) {
    const auto spec = std::ranges::find(manifest.parameters, name, &ParameterSpec::name);
    if (spec == manifest.parameters.end()) {
      errors.push_back({parameter.position, unknown_parameter(manifest, name)});
    } else if (const auto mistake = check_value(*spec, parameter.value)) {
      errors.push_back({parameter.position, fmt::format("parameter `{}` of {} {}", name, owner(manifest), *mistake)});
    }
  }
  if (!add_defaults) return errors;
  for (const auto &spec : manifest.parameters) {
    if (parameters.contains(spec.name)) continue;
    if (spec.default_value)
      parameters[spec.name] = {*spec.default_value, false, table};
    else
      errors.push_back({table, missing_parameter(manifest, spec)});
  }
  return errors;
}

}  // namespace trainhost
