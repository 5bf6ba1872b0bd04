#include "recipe/table_reader.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "recipe/fields.h"

namespace trainhost {
namespace {

constexpr int64_t kMostUnits = 100'000;
constexpr double kLargestShare = 1e9;  // so that sums stay finite

std::string below(const std::string &table, const std::string &key) { return table.empty() ? key : table + "." + key; }

}  // namespace

TableReader::TableReader(const Value &table, std::string name, std::string path, Reading &reading)
    : table_(std::get<Table>(table.data)), position_(table.position), name_(std::move(name)), path_(std::move(path)), reading_(reading) {}

const Value *TableReader::take(const std::string &key) {
  known_.push_back(key);
  if (!name_.empty()) reading_.known_keys.insert(below(name_, key));
  const auto found = table_.find(key);
  if (found == table_.end()) return nullptr;
  reading_.given.emplace(below(path_, key), found->second.position);
  return &found->second;
}

const Value *TableReader::take_required(const std::string &key) {
  const Value *value = take(key);
  if (!value) reading_.mistakes.add(position_, fmt::format("`{}` is missing in this [[{}]]", key, name_));
  return value;
}

void TableReader::refuse(const std::string &key, const Value &value, const std::string &reason) {
  reading_.mistakes.add(value.position, fmt::format("`{}`: {}", below(name_, key), reason));
}

void TableReader::require(const std::string &key) {
  if (!table_.contains(key)) reading_.mistakes.add(position_, fmt::format("`{}` is missing", below(name_, key)));
}

const Array *TableReader::elements(const std::string &key, const Value &value, const std::string &expected) {
  const auto *array = std::get_if<Array>(&value.data);
  if (!array) refuse(key, value, unlike(expected, value).value());
  return array;
}

void TableReader::tokens_or_auto(const std::string &key, uint64_t &out, uint64_t minimum, uint64_t maximum) {
  read(key, out, [&](const Value &value) -> Converted<uint64_t> {
    const auto *text = std::get_if<std::string>(&value.data);
    if (text && *text == "auto") return 0;
    return to_tokens(value, minimum, maximum, ", or \"auto\"");
  });
}

void TableReader::bytes_or_auto(const std::string &key, uint64_t &out) {
  read(key, out, [](const Value &value) -> Converted<uint64_t> {
    const auto *text = std::get_if<std::string>(&value.data);
    if (text && *text == "auto") return 0;
    return to_bytes(value, ", or \"auto\"");
  });
}

void TableReader::recompute(const std::string &key, std::optional<uint32_t> &out) {
  const Value *value = take(key);
  if (!value) return;
  const auto *text = std::get_if<std::string>(&value->data);
  const auto *every = std::get_if<int64_t>(&value->data);
  if (text && *text == "auto") {
    out.reset();
  } else if (text && (*text == "none" || *text == "all")) {
    out = *text == "all" ? 1 : 0;
  } else if (every && *every >= 1 && *every <= kMostUnits) {
    out = static_cast<uint32_t>(*every);
  } else {
    refuse(key, *value,
           unlike(fmt::format("\"auto\", \"none\", \"all\", or every how many units from 1 to {}", kMostUnits), *value).value());
  }
}

void TableReader::texts(const std::string &key, std::vector<std::string> &out) {
  const Value *value = take(key);
  const Array *array = value ? elements(key, *value, "an array of strings") : nullptr;
  if (!array) return;
  out.clear();
  for (const Value &element : *array) {
    reading_.given.emplace(fmt::format("{}.{}", below(path_, key), out.size()), element.position);
    convert_into(out.emplace_back(), key, element, to_text);
  }
}

void TableReader::texts_or_all(const std::string &key, std::vector<std::string> &out) {
  const auto found = table_.find(key);
  const auto *word = found == table_.end() ? nullptr : std::get_if<std::string>(&found->second.data);
  if (!word) return texts(key, out);
  if (take(key); *word != "all") refuse(key, found->second, unlike("an array of strings, or \"all\"", found->second).value());
}

void TableReader::name(const std::string &key, std::string &out) {
  const Value *value = take_required(key);
  if (!value) return;
  if (const auto *text = std::get_if<std::string>(&value->data)) out = *text;  // even when refused: what refers to it is not wrong too
  convert_into(out, key, *value, to_name);
}

void TableReader::reference(const std::string &key, std::string &out) {
  if (const Value *value = take_required(key)) convert_into(out, key, *value, to_text);
}

Converted<std::string> TableReader::absolute_path(const Value &value) const {
  if (value.position.line == 0) return to_path(value, reading_.folder);
  std::error_code ignored;
  return to_path(value, std::filesystem::absolute(value.position.file, ignored).parent_path().string());
}

Converted<std::string> TableReader::expanded_path(const Value &value) const {
  Value expanded = value;
  if (auto *text = std::get_if<std::string>(&expanded.data)) {
    auto whole = expand_environment(*text);
    if (!whole) return whole;
    *text = *whole;
  }
  return absolute_path(expanded);
}

void TableReader::directory(const std::string &key, std::string &out) {
  read(key, out, [this](const Value &value) { return expanded_path(value); });
}

void TableReader::paths(const std::string &key, std::vector<std::string> &out) {
  const Value *value = take_required(key);
  const Array *array = value ? elements(key, *value, "an array of paths, such as [\"data/*.md\"]") : nullptr;
  if (!array) return;
  if (array->empty()) refuse(key, *value, "expected at least one path, found an empty array");
  read_paths(key, *array, out);
}

void TableReader::folders(const std::string &key, std::vector<std::string> &out) {
  const Value *value = take(key);
  const Array *array = value ? elements(key, *value, "an array of folders, such as [\"plugins\"]") : nullptr;
  if (array) read_paths(key, *array, out);
}

void TableReader::read_paths(const std::string &key, const Array &array, std::vector<std::string> &out) {
  out.clear();
  for (const Value &element : array) {
    reading_.given.emplace(fmt::format("{}.{}", below(path_, key), out.size()), element.position);
    convert_into(out.emplace_back(), key, element, [this](const Value &path) { return expanded_path(path); });
  }
}

void TableReader::pins(const std::string &key, std::map<std::string, std::string> &out) {
  const Value *value = take(key);
  if (!value) return;
  const auto *table = std::get_if<Table>(&value->data);
  if (!table) return refuse(key, *value, unlike("a table such as { \"org.example.mine\" = \"sha256:...\" }", *value).value());
  for (const auto &[id, digest] : *table) {
    reading_.given.emplace(below(below(path_, key), id), digest.key_position);
    convert_into(out[id], below(key, id), digest, to_sha256);
  }
}

void TableReader::mix(const std::string &key, std::optional<std::map<std::string, double>> &out, std::vector<SizedMix> &by_size) {
  const Value *value = take(key);
  if (!value) return;
  if (std::holds_alternative<Array>(value->data)) return read_sized_mixes(key, *value, by_size);
  if (std::holds_alternative<Table>(value->data)) return read_shares(key, *value, out.emplace());
  refuse(key, *value,
         unlike("a table of shares such as { english = 0.7, code = 0.3 }, or an array of them by the model's size", *value).value());
}

void TableReader::read_shares(const std::string &key, const Value &value, std::map<std::string, double> &out) {
  const auto *table = std::get_if<Table>(&value.data);
  if (!table) return refuse(key, value, unlike("a table of shares such as { english = 0.7, code = 0.3 }", value).value());
  for (const auto &[source, share] : *table) {
    reading_.given.emplace(below(below(path_, key), source), share.key_position);
    double &place = out[source] = NAN;  // while refused: then the sum says nothing
    convert_into(place, below(key, source), share, [](const Value &number) { return to_number(number, 0, kLargestShare); });
  }
}

void TableReader::read_sized_mixes(const std::string &key, const Value &value, std::vector<SizedMix> &out) {
  const Array &rows = std::get<Array>(value.data);
  if (rows.size() < 2 || rows.size() > kMostOf)
    return refuse(key, value, fmt::format("a table by the model's size has from 2 to {} rows, found {}", kMostOf, rows.size()));
  for (const Value &element : rows) {
    const std::string path = fmt::format("{}.{}", below(path_, key), out.size());
    const uint64_t before = out.empty() ? 0 : out.back().parameters;
    SizedMix &row = out.emplace_back();
    read_sized_mix(key, element, path, row);
    if (row.parameters == 0 || row.parameters > before) continue;
    reading_.mistakes.add(reading_.given.at(path + ".parameters"),
                          fmt::format("`{}.parameters`: rows ascend; expected more than the {} of the row before, found {}",
                                      below(name_, key), before, row.parameters));
  }
}

void TableReader::read_sized_mix(const std::string &key, const Value &value, const std::string &path, SizedMix &out) {
  if (!std::holds_alternative<Table>(value.data))
    return refuse(key, value, unlike("a row such as { parameters = \"36M\", shares = { english = 0.7, code = 0.3 } }", value).value());
  TableReader row(value, below(name_, key), path, reading_);
  for (const char *required : {"parameters", "shares"}) row.require(required);
  row.read("parameters", out.parameters, to_parameter_count);
  if (const Value *shares = row.take("shares")) row.read_shares("shares", *shares, out.shares);
  row.finish();
}

Batch TableReader::read_batch(const std::string &key, const Value &value) {
  if (const auto *levels = std::get_if<Array>(&value.data)) return read_levels(key, *levels);
  if (std::holds_alternative<Table>(value.data)) return read_rule(key, value);
  Batch batch;
  convert_into(batch.tokens, key, value, [](const Value &tokens) {
    return to_tokens(tokens, 1, kMostBatchTokens,
                     ", an array of levels such as { tokens = 4096, until = \"10%\" }, or a table with a rule");
  });
  batch.most = batch.tokens;
  return batch;
}

Batch TableReader::read_levels(const std::string &key, const Array &levels) {
  Batch batch{.rule = "levels"};
  if (levels.empty())
    reading_.mistakes.add(reading_.given.at(below(path_, key)),
                          fmt::format("`{}`: expected at least one level, found none", below(name_, key)));
  for (const Value &element : levels) {
    const std::string path = fmt::format("{}.{}", below(path_, key), batch.levels.size());
    Batch::Level &level = batch.levels.emplace_back();
    if (!std::holds_alternative<Table>(element.data)) {
      refuse(key, element, unlike("a level such as { tokens = 4096, until = \"10%\" }", element).value());
      continue;
    }
    TableReader reader(element, below(name_, key), path, reading_);
    reader.require("tokens");
    reader.tokens("tokens", level.tokens, 1, kMostBatchTokens);
    reader.amount("until", level.until);
    reader.finish();
    const bool last = &element == &levels.back();
    if (last == level.until.has_value())
      refuse(key, element, last ? "the last level goes on, so it has no `until`" : "a level that others follow needs `until`");
  }
  if (levels.empty()) return batch;
  batch.tokens = batch.levels.front().tokens;
  batch.most = batch.levels.back().tokens;
  return batch;
}

// Each rule has keys of its own; another one's are unknown.
Batch TableReader::read_rule(const std::string &key, const Value &rule) {
  Batch batch;
  TableReader reader(rule, below(name_, key), below(path_, key), reading_);
  for (const char *required : {"rule", "from", "to"}) reader.require(required);
  reader.choice("rule", batch.rule, {"ramp", "loss", "stall", "seesaw"});
  reader.tokens("from", batch.tokens, 1, kMostBatchTokens);
  reader.tokens("to", batch.most, 1, kMostBatchTokens);
  batch.by = batch.tokens;
  if (batch.rule == "ramp") {
    reader.tokens("by", batch.by, 1, kMostBatchTokens);
    reader.require("until");
    reader.amount("until", batch.until);
  }
  if (batch.rule == "loss" || batch.rule == "stall") {
    batch.every = Amount{0.01, Amount::Unit::kShare, "1%", {}};
    reader.amount("every", batch.every);
  }
  if (batch.rule == "loss") {
    reader.number("scale", batch.scale, 0);
    reader.number("exponent", batch.exponent, 0);
  }
  if (batch.rule == "stall") reader.number("improvement", batch.improvement, 0, 1);
  reader.finish();
  return batch;
}

void TableReader::plugin(const std::string &key, std::string &out) {
  read(key, out, [this](const Value &value) -> Converted<std::string> {
    auto plugin = to_text(value);
    if (plugin && plugin->empty()) return unlike("a plugin's name, id or path", value);
    return plugin && plugin->find('/') != std::string::npos ? absolute_path(value) : plugin;
  });
}

void TableReader::parameters(const std::string &key, Parameters &out) {
  const Value *value = take(key);
  if (!value) return;
  if (!std::holds_alternative<Table>(value->data)) return refuse(key, *value, unlike("a table of parameters", *value).value());
  TableReader inner(*value, below(name_, key), below(path_, key), reading_);
  if (const auto plugin = inner.table_.find("plugin"); plugin != inner.table_.end())
    reading_.mistakes.add(plugin->second.key_position,
                          fmt::format("`{}.plugin`: only parameters can change here, not the plugin", inner.name_));
  inner.known_.push_back("plugin");
  inner.remaining_parameters(out);
}

void TableReader::remaining_parameters(Parameters &out) {
  for (const auto &[key, value] : table_) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    known_.push_back(key);
    Parameter parameter{{}, true, value.position};
    convert_into(parameter.value, key, value, to_parameter);
    out.emplace(key, parameter);
  }
}

void TableReader::finish() {
  for (const auto &[key, value] : table_)
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      reading_.unknown_keys.push_back({name_, key, value.key_position, known_});
}

}  // namespace trainhost
