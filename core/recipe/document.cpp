#include "recipe/document.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <toml++/toml.h>
#include <tl/expected.hpp>

#include "recipe/quotation.h"

namespace trainhost {
namespace {

constexpr size_t kLargestFile = size_t{1} << 20;
constexpr size_t kMostFiles = 64;  // files that include each other twice would otherwise double at every level
constexpr size_t kMostDots = 4096;

// Dots outside strings and comments. Each dotted key nests tables as deep as it has dots, and tables are freed recursively, so
// their number bounds the stack that a hostile file can ask for.
size_t count_dots(std::string_view text) {
  size_t dots = 0;
  std::string_view closing;  // of the string or comment that we are in
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    if (!closing.empty()) {
      if (closing[0] == '"' && rest[0] == '\\') {
        ++i;
      } else if (rest.starts_with(closing)) {
        i += closing.size() - 1;
        if (closing.size() == 3)  // up to two more quotes belong to the string
          for (int extra = 0; extra < 2 && i + 1 < text.size() && text[i + 1] == closing[0]; ++extra) ++i;
        closing = {};
      }
      continue;
    }
    if (rest[0] == '.') ++dots;
    if (rest[0] == '#') closing = "\n";
    for (const std::string_view opening : {"\"\"\"", "'''", "\"", "'"})
      if (closing.empty() && rest.starts_with(opening)) {
        closing = opening;
        i += opening.size() - 1;
      }
  }
  return dots;
}

class Converter {
 public:
  // line 0: all positions are `file` itself
  Converter(std::string file, bool has_lines) : file_(std::move(file)), has_lines_(has_lines) {}

  Position position(const toml::source_position &at) const {
    if (!has_lines_) return {file_, 0, 0};
    return {file_, static_cast<int>(at.line), static_cast<int>(at.column)};
  }

  Table table(const toml::table &source) const {
    Table table;
    for (const auto &[key, node] : source) table.emplace(key.str(), value(node, position(key.source().begin)));
    return table;
  }

 private:
  Value value(const toml::node &node, std::optional<Position> key_position) const {
    Value value{position(node.source().begin), {}, DateOrTime{}};
    value.key_position = key_position.value_or(value.position);
    node.visit([&](const auto &typed) {
      using Node = std::remove_cvref_t<decltype(typed)>;
      if constexpr (toml::is_table<Node>) {
        value.data = table(typed);
      } else if constexpr (toml::is_array<Node>) {
        Array elements;
        for (const toml::node &element : typed) elements.push_back(this->value(element, std::nullopt));
        value.data = std::move(elements);
      } else if constexpr (toml::is_string<Node> || toml::is_boolean<Node> || toml::is_integer<Node> || toml::is_floating_point<Node>) {
        value.data = typed.get();
      }
    });
    return value;
  }

  std::string file_;
  bool has_lines_;
};

tl::expected<Table, RecipeError> parse(const std::string &text, const Converter &converter) {
  if (count_dots(text) > kMostDots)
    return tl::unexpected(RecipeError{converter.position({1, 1}),
                                      fmt::format("keys nest too deeply: there are more than {} dots outside strings", kMostDots)});
  const toml::parse_result parsed = toml::parse(text);
  if (parsed) return converter.table(parsed.table());
  std::string_view reason = parsed.error().description();
  constexpr std::string_view kPrefix = "Error while parsing ";
  const bool placed = reason.starts_with(kPrefix);
  if (placed) reason.remove_prefix(kPrefix.size());
  return tl::unexpected(
      RecipeError{converter.position(parsed.error().source().begin), fmt::format("syntax error{} {}", placed ? " in" : ":", reason)});
}

tl::expected<std::string, std::string> read_text(const std::string &path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::array<char, 16384> piece;
  do {
    file.read(piece.data(), piece.size());
    text.append(piece.data(), static_cast<size_t>(file.gcount()));
  } while (file && text.size() <= kLargestFile);
  if (!file.is_open() || file.bad()) return tl::unexpected(fmt::format("cannot be read: {}", std::strerror(errno)));
  if (text.size() > kLargestFile) return tl::unexpected(fmt::format("is larger than {} bytes", kLargestFile));
  return text;
}

void merge(Table &base, Table &&over) {
  for (auto &[key, value] : over) {
    const auto [place, absent] = base.try_emplace(key, std::move(value));
    if (absent) continue;
    Table *below = std::get_if<Table>(&place->second.data), *above = std::get_if<Table>(&value.data);
    if (below && above) {
      Table merged = std::move(*below);
      merge(merged, std::move(*above));
      value.data = std::move(merged);
    }
    place->second = std::move(value);
  }
}

class FileReader {
 public:
  FileReader(RecipeDocument &document, Mistakes &mistakes) : document_(document), mistakes_(mistakes) {}

  // The file with its includes. `included_at` is where it is asked for; nothing for the recipe itself.
  Table read(const std::string &path, const std::optional<Position> &included_at) {
    const auto refuse = [&](const std::string &reason) {
      if (included_at)
        mistakes_.add(*included_at, fmt::format("the included file {} {}", path, reason));
      else
        mistakes_.add({path, 0, 0}, reason);
      return Table();
    };
    document_.files.push_back(path);
    const std::filesystem::path canonical = std::filesystem::weakly_canonical(path, ignored_);
    if (std::find(open_.begin(), open_.end(), canonical) != open_.end()) return refuse("includes itself");
    if (count_ > kMostFiles) return Table();  // said once
    if (++count_ > kMostFiles) return refuse(fmt::format("is one too many: a recipe has at most {} files", kMostFiles));

    auto text = read_text(path);
    if (!text) return refuse(text.error());
    auto table = parse(*text, Converter(path, true));
    if (!table) {
      mistakes_.add(table.error().position, table.error().message);
      return Table();
    }
    open_.push_back(canonical);
    Table whole = read_included(*table, std::filesystem::path(path).parent_path());
    open_.pop_back();
    merge(whole, std::move(*table));
    document_.layers.push_back(path);
    return whole;
  }

 private:
  // Takes `include` from the table.
  Table read_included(Table &table, const std::filesystem::path &folder) {
    Table whole;
    const auto include = table.extract("include");
    if (!include) return whole;
    const auto refuse = [this](const Value &value) {
      mistakes_.add(value.position, fmt::format("`include`: expected an array of paths, found {}", description(value)));
    };
    const auto *elements = std::get_if<Array>(&include.mapped().data);
    if (!elements) {
      refuse(include.mapped());
      return whole;
    }
    for (const Value &element : *elements) {
      if (const auto *path = std::get_if<std::string>(&element.data))
        merge(whole, read((folder / *path).lexically_normal().string(), element.position));
      else
        refuse(element);
    }
    return whole;
  }

  RecipeDocument &document_;
  Mistakes &mistakes_;
  std::error_code ignored_;
  std::vector<std::filesystem::path> open_;  // being read, outermost first
  size_t count_ = 0;
};

// One "key.path=value" of the command line.
class Setting {
 public:
  Setting(const std::string &text, Mistakes &mistakes) : text_(text), position_{"--set " + text, 0, 0}, mistakes_(mistakes) {}

  void apply(Value &root) {
    const size_t equals = text_.find('=');
    if (equals == std::string::npos) return refuse("expected KEY=VALUE, such as run.seed=7");
    const std::string key = text_.substr(0, equals);
    const std::vector<std::string> path = parse_key(key);
    if (path.empty()) return refuse(fmt::format("{} is not a key such as run.seed or phase.NAME.batch", short_quotation(key)));
    assign(root, path, parse_value(text_.substr(equals + 1)));
  }

 private:
  void refuse(const std::string &reason) { mistakes_.add(position_, reason); }

  // The only value of a one-line document, or nothing: a line feed would let a setting smuggle in other keys.
  std::optional<Value> parse_line(const std::string &line) const {
    if (line.find('\n') != std::string::npos) return std::nullopt;
    auto table = parse(line, Converter(position_.file, false));
    if (!table || table->size() != 1) return std::nullopt;
    Value value{position_, position_, std::move(*table)};
    return value;
  }

  std::vector<std::string> parse_key(const std::string &key) const {
    std::vector<std::string> path;
    const std::optional<Value> parsed = parse_line(key + " = 0");
    const Value *value = parsed ? &*parsed : nullptr;
    while (value && std::holds_alternative<Table>(value->data)) {
      const auto &[name, inner] = *std::get<Table>(value->data).begin();
      path.push_back(name);
      value = &inner;
    }
    return path;
  }

  Value parse_value(const std::string &text) const {
    if (std::optional<Value> parsed = parse_line("value = " + text)) return std::move(std::get<Table>(parsed->data).begin()->second);
    return {position_, position_, text};
  }

  void assign(Value &root, const std::vector<std::string> &path, Value &&value) {
    Value *place = &root;
    std::string place_name;
    for (const std::string &name : path) {
      if (auto *table = std::get_if<Table>(&place->data))
        place = &table->try_emplace(name, Value{position_, position_, Table()}).first->second;
      else if (auto *array = std::get_if<Array>(&place->data))
        place = element(*array, place_name, name);
      else
        return refuse(fmt::format("`{}` is {}, not a table", place_name, description(*place)));
      if (!place) return;
      place_name = name;
    }
    *place = std::move(value);
  }

  Value *element(Array &array, const std::string &array_name, const std::string &wanted) {
    std::vector<std::string> names;
    for (Value &candidate : array) {
      const auto *table = std::get_if<Table>(&candidate.data);
      const auto name = table ? table->find("name") : Table::const_iterator();
      if (!table || name == table->end() || !std::holds_alternative<std::string>(name->second.data)) continue;
      names.push_back(std::get<std::string>(name->second.data));
      if (names.back() == wanted) return &candidate;
    }
    refuse(fmt::format("no `{}` is named `{}`{}", array_name, wanted, mistakes_.did_you_mean(wanted, names)));
    return nullptr;
  }

  const std::string &text_;
  Position position_;
  Mistakes &mistakes_;
};

struct Describer {
  std::string operator()(const Table &) const { return "a table"; }
  std::string operator()(const Array &) const { return "an array"; }
  std::string operator()(const std::string &text) const { return "the string " + short_quotation(text); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return fmt::format("the integer {}", value); }
  std::string operator()(double value) const { return fmt::format("the number {}", value); }
  std::string operator()(DateOrTime) const { return "a date or time"; }
};

}  // namespace

std::string description(const Value &value) { return std::visit(Describer(), value.data); }

RecipeDocument read_document(const std::string &path, Mistakes &mistakes) {
  RecipeDocument document;
  document.root.data = FileReader(document, mistakes).read(path, std::nullopt);
  document.root.position = document.root.key_position = {path, 1, 1};
  return document;
}

void apply_settings(RecipeDocument &document, const std::vector<std::string> &settings, Mistakes &mistakes) {
  for (const std::string &setting : settings) {
    document.files.push_back("--set " + setting);
    Setting(setting, mistakes).apply(document.root);
  }
}

}  // namespace trainhost
