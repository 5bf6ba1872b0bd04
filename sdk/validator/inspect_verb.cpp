#include "inspect_verb.h"

#include <algorithm>
#include <iostream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "inspection.h"
#include "plugin_host/manifest_json.h"

namespace options = boost::program_options;

namespace trainhost {
namespace {

using Json = nlohmann::ordered_json;

// Texts of a file that nobody vouches for: nothing in them may steer the terminal.
std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

void print_fact(std::string_view name, const std::string &value, std::ostream &out) {
  if (!value.empty()) out << fmt::format("  {:<13} {}\n", name, printable(value));
}

std::string joined(const std::vector<std::string> &names) { return fmt::format("{}", fmt::join(names, ", ")); }

std::vector<std::string> names_of_exports(const SharedObject &library) {
  std::vector<std::string> names;
  for (const auto &symbol : library.exports) names.push_back(symbol.name);
  return names;
}

struct Written {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::string &value) const { return '"' + value + '"'; }
  template <class Number>
  std::string operator()(Number value) const {
    return fmt::format("{}", value);
  }
};

std::string abi(int major, int minor) { return fmt::format("{}.{}", major, minor); }

void print_manifest(const Manifest &manifest, std::ostream &out) {
  print_fact("kind", std::string(to_string(manifest.kind)), out);
  print_fact("id", manifest.id, out);
  print_fact("ABI",
             fmt::format("needs {}, built with {}", abi(manifest.minimum_abi_major, manifest.minimum_abi_minor),
                         abi(manifest.sdk_abi_major, manifest.sdk_abi_minor)),
             out);
  print_fact("LibTorch", manifest.libtorch, out);
  for (const auto &spec : manifest.parameters) {
    print_fact("parameter",
               fmt::format("{}, {}, {}", spec.name, to_string(spec.type),
                           spec.default_value ? "default " + std::visit(Written{}, *spec.default_value) : "required"),
               out);
  }
}

void print_library(const SharedObject &library, std::ostream &out) {
  print_fact("exports", library.exports.empty() ? "nothing" : joined(names_of_exports(library)), out);
  print_fact("needs", library.needed.empty() ? "nothing" : joined(library.needed), out);
  print_fact("run path", joined(library.run_path), out);
  if (library.constructors > 1) {  // one is the compiler's
    print_fact("constructors", fmt::format("{} that run when it is loaded", library.constructors - 1), out);
  }
}

void print_problems(const Inspection &inspection, std::ostream &out) {
  for (const Problem &problem : inspection.problems) {
    out << fmt::format("\n{} {}: {}\n  fix: {}\n", to_string(problem.severity), problem.rule, printable(problem.text),
                       printable(problem.fix));
  }
  if (inspection.problems.empty()) out << "\nnothing is wrong with the file\n";
}

void print(const Inspection &inspection, std::ostream &out) {
  const auto &manifest = inspection.manifest;
  out << (manifest ? printable(fmt::format("{} {}: {}", manifest->name, manifest->version, manifest->summary)) : "not a usable plugin")
      << '\n';
  print_fact("file", inspection.path, out);
  print_fact("SHA-256", inspection.sha256, out);
  if (manifest) print_manifest(*manifest, out);
  if (inspection.library) print_library(*inspection.library, out);
  print_problems(inspection, out);
}

Json to_json(const SharedObject &library) {
  Json json{{"exports", names_of_exports(library)},
            {"imports", Json::array()},
            {"needed", library.needed},
            {"run_path", library.run_path},
            {"constructors", library.constructors},
            {"executable_stack", library.executable_stack},
            {"text_relocations", library.text_relocations}};
  for (const auto &symbol : library.imports) {
    json["imports"].push_back({{"name", symbol.name}, {"library", symbol.library}, {"weak", symbol.weak}});
  }
  return json;
}

Json to_json(const Inspection &inspection) {
  Json json{
      {"path", inspection.path}, {"sha256", inspection.sha256}, {"manifest", nullptr}, {"library", nullptr}, {"problems", Json::array()}};
  if (inspection.manifest) json["manifest"] = to_json(*inspection.manifest);
  if (inspection.library) json["library"] = to_json(*inspection.library);
  for (const Problem &problem : inspection.problems) {
    json["problems"].push_back(
        {{"rule", problem.rule}, {"severity", to_string(problem.severity)}, {"text", problem.text}, {"fix", problem.fix}});
  }
  return json;
}

}  // namespace

Result<> print_inspection(const std::string &path, bool json, std::ostream &out) {
  TRAINHOST_TRY(const Inspection inspection, inspect_plugin(path));
  if (json) {
    out << to_json(inspection).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';  // names need not be UTF-8
  } else {
    print(inspection, out);
  }
  const size_t errors = inspection.count(Severity::kError);
  if (errors == 0) return {};
  return failure(ErrorKind::kPluginContract,
                 fmt::format("{}: {} error{}, see above and sdk/docs/rules.md", path, errors, errors == 1 ? "" : "s"));
}

Verb inspect_verb() {
  Verb verb{"trainhost-plugin inspect FILE",
            "say what a plugin is and what is wrong with its file, without running it",
            options::options_description("options"),
            {},
            {}};
  verb.accepted.add_options()("file", options::value<std::string>()->required(), "the plugin's shared library")(
      "json", options::bool_switch(), "print JSON");
  verb.positional.add("file", 1);
  verb.act = [](const auto &given) {
    return print_inspection(given["file"].template as<std::string>(), given["json"].template as<bool>(), std::cout);
  };
  return verb;
}

}  // namespace trainhost
