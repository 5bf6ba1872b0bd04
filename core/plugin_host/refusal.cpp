#include "plugin_host/refusal.h"

#include <fmt/format.h>

namespace trainhost {
namespace {

constexpr std::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789_";

// Without what names the file and the call, which nobody who corrects a recipe asks for.
std::string_view plugins_text(const Error &error, const Manifest &manifest) {
  const std::string subject = describe(manifest) + ": create: ";
  const std::string_view message = error.message;
  return message.starts_with(subject) ? message.substr(subject.size()) : message;
}

}  // namespace

RecipeError refusal_in_recipe(const Error &error, const Manifest &manifest, const Parameters &parameters, const Position &table) {
  const std::string_view text = plugins_text(error, manifest);
  const auto parameter = parameters.find(std::string(text.substr(0, text.find_first_not_of(kNameCharacters))));
  const bool given = parameter != parameters.end() && parameter->second.given;
  return {given ? parameter->second.position : table, fmt::format("{} plugin \"{}\": {}", to_string(manifest.kind), manifest.name, text)};
}

Error joined(const std::vector<RecipeError> &mistakes) {
  std::string lines;
  for (const RecipeError &mistake : mistakes) lines += (lines.empty() ? "" : "\n") + to_string(mistake);
  return {ErrorKind::kRecipe, std::move(lines)};
}

}  // namespace trainhost
