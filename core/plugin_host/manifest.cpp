#include "plugin_host/manifest.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "base/hash.h"
#include "plugin_host/manifest_section.h"
#include "plugin_host/parameter_value.h"
#include "recipe/reader.h"
#include "trainhost/kinds/model.h"

namespace trainhost {
namespace {

constexpr std::string_view kKinds[] = {"tokenizer", "dataset_mixer", "optimizer", "lr_scheduler", "model"};
constexpr std::string_view kTypes[] = {"integer", "number", "boolean", "string", "amount"};

template <size_t kCount>
std::string list(const std::string_view (&names)[kCount]) {
  std::string text;
  for (const auto name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

// The first mistake of a manifest; later ones are not looked for.
class Mistake {
 public:
  void record(const toml::node &node, const std::string &message) {
    if (text_.empty()) text_ = fmt::format("line {}: {}", node.source().begin.line, message);
  }
  const std::string &text() const { return text_; }

 private:
  std::string text_;
};

// Reads the keys of one table. A mistake is recorded and gives an empty value.
class TableReader {
 public:
  TableReader(const toml::table &table, std::string name, const std::vector<std::string> &keys, Mistake &mistake)
      : table_(table), name_(std::move(name)), mistake_(mistake) {
    for (const auto &[key, node] : table) {
      const std::string word(key.str());
      if (std::ranges::find(keys, word) != keys.end()) continue;
      const std::string nearest = nearest_name(word, keys);
      record(node, fmt::format("unknown key \"{}\"{}{}", word, name_, nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?"));
    }
  }

  const toml::node *find(std::string_view key) const { return table_.get(key); }

  template <class Value>
  std::optional<Value> optional(std::string_view key, std::string_view type) const {
    const toml::node *node = table_.get(key);
    if (node == nullptr) return std::nullopt;
    if (const auto value = node->value_exact<Value>()) return value;
    record(*node, fmt::format("\"{}\"{} must be {}", key, name_, type));
    return std::nullopt;
  }
  std::optional<std::string> string(std::string_view key) const { return optional<std::string>(key, "a string"); }
  std::optional<double> number(std::string_view key) const {
    const toml::node *node = table_.get(key);
    if (node != nullptr && node->is_integer()) return static_cast<double>(**node->as_integer());
    return optional<double>(key, "a number");
  }

  std::string required_string(std::string_view key) const {
    if (table_.get(key) == nullptr) {
      record(table_, fmt::format("key \"{}\"{} is missing", key, name_));
    }
    const std::string text = string(key).value_or("");
    if (text.empty() && table_.get(key) != nullptr) record(*table_.get(key), fmt::format("\"{}\"{} must not be empty", key, name_));
    return text;
  }

  // The place of a required word among the known ones.
  template <size_t kCount>
  size_t required_choice(std::string_view key, const std::string_view (&known)[kCount]) const {
    const std::string word = required_string(key);
    const auto *found = std::ranges::find(known, std::string_view(word));
    if (found != std::end(known)) return static_cast<size_t>(found - known);
    record(this->at(key), fmt::format("unknown {} \"{}\"{}; known are {}", key, word, name_, list(known)));
    return 0;
  }

  // "1.0": major and minor.
  std::pair<int, int> required_version(std::string_view key) const {
    const std::string text = required_string(key);
    int major = 0, minor = 0;
    const char *const end = text.data() + text.size();
    auto [after, code] = std::from_chars(text.data(), end, major);
    const bool dotted = code == std::errc() && after != end && *after == '.';
    if (dotted)
      std::tie(after, code) = [&] {
        auto result = std::from_chars(after + 1, end, minor);
        return std::pair(result.ptr, result.ec);
      }();
    if (!dotted || code != std::errc() || after != end)
      record(at(key), fmt::format("\"{}\"{} must be a version such as \"1.0\", found \"{}\"", key, name_, text));
    return {major, minor};
  }

  void record(const toml::node &node, const std::string &message) const { mistake_.record(node, message); }
  const toml::node &at(std::string_view key) const {
    const toml::node *node = table_.get(key);
    return node != nullptr ? *node : table_;
  }

 private:
  const toml::table &table_;
  std::string name_;  // " of parameter 2"; empty for the manifest itself
  Mistake &mistake_;
};

bool is_name(std::string_view name) {
  return std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

std::vector<std::string> read_choices(const TableReader &reader) {
  std::vector<std::string> choices;
  const toml::node *node = reader.find("choices");
  if (node == nullptr) return choices;
  if (const toml::array *array = node->as_array()) {
    for (const auto &item : *array) {
      if (const auto text = item.value_exact<std::string>()) choices.push_back(*text);
    }
    if (!array->empty() && choices.size() == array->size()) return choices;
  }
  reader.record(*node, "\"choices\" must be a list of strings");
  return choices;
}

void read_bounds(const TableReader &reader, ParameterSpec &spec) {
  spec.minimum = reader.number("minimum");
  spec.maximum = reader.number("maximum");
  if (const auto bound = reader.number("exclusive_minimum")) {
    if (spec.minimum) reader.record(reader.at("exclusive_minimum"), "\"minimum\" and \"exclusive_minimum\" exclude each other");
    spec.minimum = bound;
    spec.exclusive_minimum = true;
  }
  const bool numeric = spec.type == ParameterType::kInteger || spec.type == ParameterType::kNumber || spec.type == ParameterType::kAmount;
  for (const std::string_view key : {"minimum", "maximum", "exclusive_minimum"}) {
    if (!numeric && reader.find(key) != nullptr)
      reader.record(reader.at(key), fmt::format("\"{}\" has no meaning for a {}", key, to_string(spec.type)));
  }
  if (spec.type != ParameterType::kString && !spec.choices.empty()) {
    reader.record(reader.at("choices"), fmt::format("\"choices\" has no meaning for a {}", to_string(spec.type)));
  }
}

std::optional<ParameterValue> value_of(const toml::node &node) {
  if (const auto value = node.value_exact<bool>()) return *value;
  if (const auto value = node.value_exact<int64_t>()) return *value;
  if (const auto value = node.value_exact<double>()) return *value;
  if (const auto value = node.value_exact<std::string>()) return *value;
  return std::nullopt;
}

void read_default(const TableReader &reader, ParameterSpec &spec) {
  const bool required = reader.optional<bool>("required", "true or false").value_or(false);
  const toml::node *node = reader.find("default");
  if ((node != nullptr) == required) {
    return reader.record(reader.at("name"), fmt::format("parameter \"{}\" must have either a default or required = true", spec.name));
  }
  if (node == nullptr) return;
  auto value = value_of(*node);
  const auto mistake = value ? check_value(spec, *value) : "must be " + std::string(to_string(spec.type));
  if (mistake) return reader.record(*node, fmt::format("default of parameter \"{}\" {}", spec.name, *mistake));
  spec.default_value = std::move(value);
}

ParameterSpec read_parameter(const toml::table &table, size_t number, Mistake &mistake) {
  const TableReader reader(table, fmt::format(" of parameter {}", number),
                           {"name", "type", "default", "required", "minimum", "exclusive_minimum", "maximum", "choices", "unit", "doc"},
                           mistake);
  ParameterSpec spec{};
  spec.name = reader.required_string("name");
  spec.type = static_cast<ParameterType>(reader.required_choice("type", kTypes));
  spec.choices = read_choices(reader);
  spec.unit = reader.string("unit").value_or("");
  spec.doc = reader.string("doc").value_or("");
  read_bounds(reader, spec);
  read_default(reader, spec);
  if (!is_name(spec.name) || spec.name == "plugin") {
    reader.record(reader.at("name"),
                  fmt::format("\"{}\" is no name for a parameter: lower-case letters, digits and _, and not \"plugin\"", spec.name));
  }
  return spec;
}

void read_parameters(const TableReader &reader, Manifest &manifest, Mistake &mistake) {
  const toml::node *node = reader.find("parameter");
  if (node == nullptr) return;
  const toml::array *tables = node->as_array();
  if (tables == nullptr || !tables->is_homogeneous<toml::table>())
    return reader.record(*node, "\"parameter\" must be tables, [[parameter]]");
  for (const auto &item : *tables) {
    ParameterSpec spec = read_parameter(*item.as_table(), manifest.parameters.size() + 1, mistake);
    if (std::ranges::find(manifest.parameters, spec.name, &ParameterSpec::name) != manifest.parameters.end()) {
      reader.record(item, fmt::format("parameter \"{}\" is there twice", spec.name));
    }
    if (spec.type == ParameterType::kAmount && manifest.kind == PluginKind::kTokenizer) {
      reader.record(item, fmt::format("parameter \"{}\" is an amount, and a tokenizer is made before there is a token axis", spec.name));
    }
    manifest.parameters.push_back(std::move(spec));
  }
}

void read_sdk(const TableReader &reader, Manifest &manifest, Mistake &mistake) {
  const toml::node *node = reader.find("sdk");
  if (node == nullptr || !node->is_table())
    return reader.record(reader.at("sdk"), "table [sdk] is missing; build the plugin with trainhost_add_plugin()");
  const TableReader sdk(*node->as_table(), " of [sdk]", {"abi"}, mistake);
  std::tie(manifest.sdk_abi_major, manifest.sdk_abi_minor) = sdk.required_version("abi");
}

std::string version(int major, int minor) { return fmt::format("{}.{}", major, minor); }

}  // namespace

std::string_view to_string(PluginKind kind) { return kKinds[static_cast<size_t>(kind)]; }
std::string_view to_string(ParameterType type) { return kTypes[static_cast<size_t>(type)]; }

std::string describe(const Manifest &manifest) {
  return fmt::format("{} plugin \"{}\" {} ({})", to_string(manifest.kind), manifest.name, manifest.version, manifest.path);
}

tl::expected<Manifest, std::string> parse_manifest(std::string_view text) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return tl::unexpected(fmt::format("line {}: {}", parsed.error().source().begin.line, parsed.error().description()));
  }
  Mistake mistake;
  const TableReader reader(parsed.table(), "", {"id", "name", "kind", "version", "summary", "minimum_abi", "libtorch", "parameter", "sdk"},
                           mistake);
  Manifest manifest{};
  manifest.id = reader.required_string("id");
  manifest.name = reader.required_string("name");
  manifest.kind = static_cast<PluginKind>(reader.required_choice("kind", kKinds));
  manifest.version = reader.required_string("version");
  manifest.summary = reader.required_string("summary");
  std::tie(manifest.minimum_abi_major, manifest.minimum_abi_minor) = reader.required_version("minimum_abi");
  manifest.libtorch = reader.string("libtorch").value_or("");
  if (!is_name(manifest.name))
    reader.record(reader.at("name"), fmt::format("\"{}\" is no name: lower-case letters, digits and _", manifest.name));
  if (manifest.id.find('.') == std::string::npos) {
    reader.record(reader.at("id"),
                  fmt::format("\"{}\" is no id: a reversed domain such as \"org.example.{}\"", manifest.id, manifest.name));
  }
  read_parameters(reader, manifest, mistake);
  read_sdk(reader, manifest, mistake);
  if (!mistake.text().empty()) return tl::unexpected(mistake.text());
  return manifest;
}

Result<Manifest> read_manifest(const std::string &path) {
  const auto refuse = [&](const std::string &reason) { return failure(ErrorKind::kPlugin, path + ": " + reason); };
  const auto file = ElfFile::open(path);
  if (!file) return refuse(file.error());
  const auto text = read_manifest_section(*file);
  if (!text) return refuse(text.error());
  auto manifest = parse_manifest(*text);
  if (!manifest) return refuse("its manifest is malformed: " + manifest.error());
  auto digest = file->sha256();
  if (!digest) return refuse(digest.error());
  manifest->path = path;
  manifest->sha256 = *std::move(digest);
  manifest->identity = file->identity();
  return *std::move(manifest);
}

Result<> check_compatible(const Manifest &manifest) {
  const auto refuse = [&](const std::string &reason) { return failure(ErrorKind::kPlugin, manifest.path + ": " + reason); };
  const std::string host = version(TRAINHOST_ABI_MAJOR, TRAINHOST_ABI_MINOR);
  const std::string plugin = fmt::format("plugin \"{}\" {}", manifest.name, manifest.version);
  if (manifest.minimum_abi_major != TRAINHOST_ABI_MAJOR || manifest.sdk_abi_major != TRAINHOST_ABI_MAJOR) {
    const int major = manifest.minimum_abi_major != TRAINHOST_ABI_MAJOR ? manifest.minimum_abi_major : manifest.sdk_abi_major;
    return refuse(fmt::format("{} is made for plugin ABI {}, this trainhost has {}; get a build of the plugin for ABI {}", plugin, major,
                              host, TRAINHOST_ABI_MAJOR));
  }
  if (manifest.minimum_abi_minor > TRAINHOST_ABI_MINOR) {
    return refuse(fmt::format("{} needs plugin ABI {}, this trainhost has {}; get a newer trainhost or an older version of the plugin",
                              plugin, version(manifest.minimum_abi_major, manifest.minimum_abi_minor), host));
  }
  if (!manifest.libtorch.empty() && manifest.libtorch != TRAINHOST_LIBTORCH_VERSION) {
    return refuse(fmt::format("{} is pinned to LibTorch {}, this trainhost has {}; get a build of the plugin for that version", plugin,
                              manifest.libtorch, TRAINHOST_LIBTORCH_VERSION));
  }
  return {};
}

}  // namespace trainhost
