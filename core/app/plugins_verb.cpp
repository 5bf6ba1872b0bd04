#include "app/plugins_verb.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <sstream>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "plugin_host/manifest_json.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

using Row = std::vector<std::string>;

constexpr size_t kLineWidth = 120, kNarrowestColumn = 40;

std::vector<size_t> widths_of(const std::vector<Row> &rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const Row &row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  return widths;
}

// The text in lines of at most `width` characters, cut between words; a longer word has a line of its own.
std::vector<std::string> wrapped(const std::string &text, size_t width) {
  std::vector<std::string> lines{""};
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + word;
  }
  return lines;
}

// Rows whose last cell is too wide go on in rows that are empty but for it.
std::vector<Row> with_wrapped_last_column(const std::vector<Row> &rows) {
  const std::vector<size_t> widths = widths_of(rows);
  const size_t before = std::accumulate(widths.begin(), widths.end() - 1, 2 * (widths.size() - 1));
  const size_t width = std::max(kLineWidth - std::min(before, kLineWidth), kNarrowestColumn);
  std::vector<Row> result;
  for (const Row &row : rows) {
    Row cells = row;
    for (std::string &line : wrapped(row.back(), width)) {
      cells.back() = std::move(line);
      result.push_back(std::exchange(cells, Row(row.size())));
    }
  }
  return result;
}

// Columns two spaces apart.
void print_table(const std::vector<Row> &rows, std::string_view indent, std::ostream &out) {
  const std::vector<size_t> widths = widths_of(rows);
  for (const Row &row : rows) {
    std::string line(indent);
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}", row[i], i + 1 < row.size() ? widths[i] + 2 : 0);
    out << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
  }
}

std::vector<Manifest> sorted(std::vector<Manifest> plugins) {
  std::ranges::sort(plugins, {}, [](const Manifest &manifest) { return std::tie(manifest.kind, manifest.name); });
  return plugins;
}

std::string abi(int major, int minor) { return fmt::format("{}.{}", major, minor); }

struct Shown {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(const std::string &value) const { return '"' + value + '"'; }
};

std::string range_of(const ParameterSpec &spec) {
  if (spec.minimum && spec.maximum) {
    return fmt::format(fmt::runtime(spec.exclusive_minimum ? "above {}, at most {}" : "{} to {}"), *spec.minimum, *spec.maximum);
  }
  if (spec.minimum) return fmt::format("{} {}", spec.exclusive_minimum ? "above" : "at least", *spec.minimum);
  return spec.maximum ? fmt::format("at most {}", *spec.maximum) : "";
}

void print_parameters(const std::vector<ParameterSpec> &parameters, std::ostream &out) {
  std::vector<Row> rows{{"PARAMETER", "TYPE", "DEFAULT", "RANGE", "UNIT", "MEANING"}};
  for (const ParameterSpec &spec : parameters) {
    const std::string choices = spec.choices.empty() ? "" : fmt::format("one of {}", fmt::join(spec.choices, ", "));
    rows.push_back({spec.name, std::string(to_string(spec.type)),
                    spec.default_value ? std::visit(Shown{}, *spec.default_value) : "required", range_of(spec), spec.unit,
                    spec.doc.empty() ? choices : spec.doc});
    if (!choices.empty() && !spec.doc.empty()) rows.push_back({"", "", "", "", "", choices});
  }
  print_table(with_wrapped_last_column(rows), "", out);
}

void print(const Manifest &manifest, std::ostream &out) {
  out << fmt::format("{} {}: {}\n", manifest.name, manifest.version, manifest.summary);
  std::vector<Row> facts{{"kind", std::string(to_string(manifest.kind))},
                         {"id", manifest.id},
                         {"file", manifest.path},
                         {"SHA-256", manifest.sha256},
                         {"ABI", fmt::format("needs {}, built with {}", abi(manifest.minimum_abi_major, manifest.minimum_abi_minor),
                                             abi(manifest.sdk_abi_major, manifest.sdk_abi_minor))}};
  if (!manifest.libtorch.empty()) facts.push_back({"LibTorch", manifest.libtorch});
  print_table(facts, "  ", out);
  out << '\n';
  if (manifest.parameters.empty()) {
    out << "It takes no parameters.\n";
  } else {
    print_parameters(manifest.parameters, out);
  }
}

void print_each(const std::vector<Manifest> &plugins, std::ostream &out) {
  for (const auto &manifest : plugins) {
    if (&manifest != &plugins.front()) out << '\n';
    print(manifest, out);
  }
}

nlohmann::ordered_json to_json(const std::vector<Manifest> &plugins) {
  auto json = nlohmann::ordered_json::array();
  for (const auto &manifest : plugins) json.push_back(to_json(manifest));
  return json;
}

void print_json(const nlohmann::ordered_json &json, std::ostream &out) {
  out << json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
}

void print_all_as_json(const PluginRegistry &registry, std::ostream &out) {
  nlohmann::ordered_json json{
      {"folders", registry.folders()}, {"plugins", to_json(sorted(registry.plugins()))}, {"rejected", nlohmann::ordered_json::array()}};
  for (const auto &file : registry.rejected()) json["rejected"].push_back({{"path", file.path}, {"reason", file.reason}});
  print_json(json, out);
}

void print_all_as_table(const PluginRegistry &registry, std::ostream &out) {
  std::vector<Row> rows{{"KIND", "NAME", "VERSION", "ID", "FILE"}};
  for (const auto &manifest : sorted(registry.plugins())) {
    rows.push_back({std::string(to_string(manifest.kind)), manifest.name, manifest.version, manifest.id, manifest.path});
  }
  if (rows.size() > 1) {
    print_table(rows, "", out);
  } else {
    out << fmt::format("No plugins in {}.\n", fmt::join(registry.folders(), ", "));
  }
  if (registry.rejected().empty()) return;
  out << "\nRefused:\n";
  for (const auto &file : registry.rejected()) out << "  " << file.reason << '\n';
}

Result<std::vector<Manifest>> read_file(const std::string &path) {
  TRAINHOST_TRY(Manifest manifest, read_manifest(std::filesystem::absolute(path).lexically_normal().string()));
  TRAINHOST_CHECK(check_compatible(manifest));
  return std::vector{std::move(manifest)};
}

Result<std::vector<Manifest>> find_all(const PluginRegistry &registry, const std::string &plugin) {
  if (plugin.find('/') != std::string::npos) return read_file(plugin);
  std::vector<Manifest> found;
  std::vector<std::string> names;
  for (const auto &manifest : sorted(registry.plugins())) {
    if (manifest.name == plugin || manifest.id == plugin) found.push_back(manifest);
    names.push_back(manifest.name);
  }
  if (!found.empty()) return found;
  const std::string nearest = nearest_name(plugin, names);
  return failure(ErrorKind::kUsage,
                 fmt::format("no plugin is called \"{}\"{} (looked in {})", plugin,
                             nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?", fmt::join(registry.folders(), ", ")));
}

}  // namespace

Result<> print_plugins(const PluginRegistry &registry, const std::string &name, bool json, std::ostream &out) {
  if (name.empty()) {
    json ? print_all_as_json(registry, out) : print_all_as_table(registry, out);
    return {};
  }
  TRAINHOST_TRY(const auto found, find_all(registry, name));
  if (json) {
    print_json({{"plugins", to_json(found)}}, out);
  } else {
    print_each(found, out);
  }
  return {};
}

}  // namespace trainhost
