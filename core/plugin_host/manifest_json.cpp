#include "plugin_host/manifest_json.h"

#include <fmt/format.h>

namespace trainhost {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const ParameterSpec &spec) {
  Json json{{"name", spec.name}, {"type", to_string(spec.type)}, {"required", !spec.default_value.has_value()}};
  if (spec.default_value) std::visit([&](const auto &value) { json["default"] = value; }, *spec.default_value);
  if (spec.minimum) json[spec.exclusive_minimum ? "exclusive_minimum" : "minimum"] = *spec.minimum;
  if (spec.maximum) json["maximum"] = *spec.maximum;
  if (!spec.choices.empty()) json["choices"] = spec.choices;
  json["unit"] = spec.unit;
  json["doc"] = spec.doc;
  return json;
}

}  // namespace

Json to_json(const Manifest &manifest) {
  const auto abi = [](int major, int minor) { return fmt::format("{}.{}", major, minor); };
  Json json{{"kind", to_string(manifest.kind)},
            {"name", manifest.name},
            {"version", manifest.version},
            {"id", manifest.id},
            {"summary", manifest.summary},
            {"path", manifest.path},
            {"sha256", manifest.sha256},
            {"minimum_abi", abi(manifest.minimum_abi_major, manifest.minimum_abi_minor)},
            {"sdk_abi", abi(manifest.sdk_abi_major, manifest.sdk_abi_minor)},
            {"libtorch", manifest.libtorch},
            {"parameters", Json::array()}};
  for (const auto &spec : manifest.parameters) json["parameters"].push_back(to_json(spec));
  return json;
}

}  // namespace trainhost
