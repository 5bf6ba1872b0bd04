// Recipes written out: as TOML that says every key, and as a fingerprint of that.
#include <charconv>

#include "base/hash.h"
#include "recipe/fields.h"
#include "recipe/quotation.h"
#include "recipe/recipe.h"

namespace trainhost {
namespace {

// The shortest text that reads back as the same number, and as a number with a fraction.
std::string toml_number(double number) {
  char text[32];
  const std::string shortest(text, std::to_chars(text, text + sizeof text, number).ptr);
  return shortest.find_first_of(".en") == std::string::npos ? shortest + ".0" : shortest;
}

struct ParameterText {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return toml_number(value); }
  std::string operator()(const std::string &value) const { return quotation(value); }
};

std::string toml_array(const std::vector<std::string> &texts) {
  std::string array = "[";
  for (const std::string &text : texts) array += (array.size() > 1 ? ", " : "") + quotation(text);
  return array + "]";
}

std::string toml_levels(const std::vector<Batch::Level> &levels) {
  std::string array;
  for (const Batch::Level &level : levels) {
    const std::string until = level.until ? ", until = " + quotation(level.until->text) : "";
    array += (array.empty() ? "{ tokens = " : ", { tokens = ") + std::to_string(level.tokens) + until + " }";
  }
  return "[" + array + "]";
}

std::string toml_shares(const std::map<std::string, double> &mix) {
  std::string shares;
  for (const auto &[source, share] : mix) shares += (shares.empty() ? " " : ", ") + toml_key(source) + " = " + toml_number(share);
  return "{" + shares + " }";
}

std::string toml_mixes(const std::vector<SizedMix> &rows) {
  std::string array;
  for (const auto &[parameters, shares] : rows) {
    array +=
        (array.empty() ? "{ parameters = " : ", { parameters = ") + std::to_string(parameters) + ", shares = " + toml_shares(shares) + " }";
  }
  return "[" + array + "]";
}

std::string toml_batch(const Batch &batch) {
  if (batch.rule == "constant") return std::to_string(batch.tokens);
  if (batch.rule == "levels") return toml_levels(batch.levels);
  std::string table =
      "{ rule = " + quotation(batch.rule) + ", from = " + std::to_string(batch.tokens) + ", to = " + std::to_string(batch.most);
  if (batch.rule == "ramp") table += ", by = " + std::to_string(batch.by) + ", until = " + quotation(batch.until->text);
  if (batch.every) table += ", every = " + quotation(batch.every->text);
  if (batch.rule == "loss") table += ", scale = " + toml_number(batch.scale) + ", exponent = " + toml_number(batch.exponent);
  if (batch.rule == "stall") table += ", improvement = " + toml_number(batch.improvement);
  return table + " }";
}

// A visitor of the sections and of their fields, see fields.h.
class Writer {
 public:
  Writer(const Recipe &recipe, bool marks_defaults) : recipe_(recipe), marks_defaults_(marks_defaults) {}
  std::string text() && { return std::move(text_); }

  void table(const std::string &name, auto fields) {
    begin("[" + name + "]", name);
    fields(*this);
  }
  void tables(const std::string &name, const auto &items, auto fields) {
    for (size_t i = 0; i < items.size(); ++i) {
      begin("[[" + name + "]]", name + "." + std::to_string(i));
      fields(*this, items[i]);
    }
  }
  void plugin(const std::string &name, const PluginChoice &choice) {
    begin("[" + name + "]", name);
    text("plugin", choice.plugin);
    for (const auto &[key, parameter] : choice.parameters) write(toml_key(key), parameter);
  }

  void text(const char *key, const std::string &value) { write(key, quotation(value)); }
  void name(const char *key, const std::string &value) { text(key, value); }
  void reference(const char *key, const std::string &value) { text(key, value); }
  void directory(const char *key, const std::string &value) { text(key, value); }
  void choice(const char *key, const std::string &value, std::initializer_list<const char *>) { text(key, value); }
  void choice(const char *key, const std::optional<std::string> &value, std::initializer_list<const char *>) {
    if (value) text(key, *value);
  }
  void boolean(const char *key, bool value) { write(key, value ? "true" : "false"); }
  void integer(const char *key, const auto &value, uint64_t, uint64_t) { write_integer(key, value); }
  void tokens(const char *key, const auto &value, uint64_t, uint64_t) { write_integer(key, value); }
  void tokens_or_auto(const char *key, uint64_t value, uint64_t, uint64_t) { value == 0 ? text(key, "auto") : write_integer(key, value); }
  void bytes_or_auto(const char *key, uint64_t value) {
    value == 0 ? text(key, "auto") : write(key, quotation(std::to_string(value) + "B"));
  }
  void recompute(const char *key, const std::optional<uint32_t> &value) {
    if (value && *value > 1) return write_integer(key, *value);
    text(key, !value ? "auto" : *value == 0 ? "none" : "all");
  }
  void number(const char *key, double value, double, double = 0) { write(key, toml_number(value)); }
  void share(const char *key, double value, double, double) { write(key, toml_number(value)); }
  void amount(const char *key, const Amount &value) { text(key, value.text); }
  void amount(const char *key, const std::optional<Amount> &value) {
    if (value) amount(key, *value);
  }
  void texts(const char *key, const std::vector<std::string> &value) { write(key, toml_array(value)); }
  void paths(const char *key, const std::vector<std::string> &value) { texts(key, value); }
  void folders(const char *key, const std::vector<std::string> &value) { texts(key, value); }
  void pins(const char *key, const std::map<std::string, std::string> &value) {
    std::string pins;
    for (const auto &[id, digest] : value) pins += (pins.empty() ? " " : ", ") + toml_key(id) + " = " + quotation("sha256:" + digest);
    write(key, "{" + pins + (pins.empty() ? "}" : " }"));
  }
  void texts_or_all(const char *key, const std::vector<std::string> &value) { value.empty() ? text(key, "all") : texts(key, value); }
  void mix(const char *key, const std::optional<std::map<std::string, double>> &value, const std::vector<SizedMix> &by_size) {
    if (!by_size.empty()) return write(key, toml_mixes(by_size));
    if (value) write(key, toml_shares(*value));
  }
  void batch(const char *key, const Batch &value) { write(key, toml_batch(value)); }
  void batch(const char *key, const std::optional<Batch> &value) {
    if (value) batch(key, *value);
  }
  void parameters(const char *key, const Parameters &value) {
    for (const auto &[name, parameter] : value) write(std::string(key) + "." + toml_key(name), parameter);
  }

 private:
  void begin(const std::string &header, const std::string &path) {
    text_ += (text_.empty() ? "" : "\n") + header + "\n";
    path_ = path;
  }
  void write_line(const std::string &key, const std::string &value, bool given) {
    text_ += key + " = " + value + (given || !marks_defaults_ ? "" : "  # default") + "\n";
  }
  void write(const std::string &key, const std::string &value) { write_line(key, value, recipe_.given.contains(path_ + "." + key)); }
  void write(const std::string &key, const Parameter &parameter) { write_line(key, to_toml(parameter.value), parameter.given); }
  void write_integer(const char *key, uint64_t value) { write(key, std::to_string(value)); }
  template <class Integer>
  void write_integer(const char *key, const std::optional<Integer> &value) {
    if (value) write_integer(key, *value);
  }

  const Recipe &recipe_;
  const bool marks_defaults_;
  std::string path_, text_;
};

std::string written(const Recipe &recipe, bool marks_defaults) {
  Writer writer(recipe, marks_defaults);
  visit_recipe(writer, recipe);
  return std::move(writer).text();
}

}  // namespace

std::string to_toml(const ParameterValue &value) { return std::visit(ParameterText(), value); }

std::string resolved_toml(const Recipe &recipe) { return written(recipe, true); }

std::string training_fingerprint(const Recipe &recipe) {
  Recipe training = recipe;
  training.run.directory.clear();
  training.plugins = {};
  for (PluginChoice *choice : {&training.tokenizer, &training.model, &training.optimizer, &training.mixer}) choice->plugin.clear();
  training.schedule = {};
  for (Phase &phase : training.phases) phase.overrides.schedule.clear();
  training.parallel = {};
  training.training.recompute.reset();
  training.training.memory_bytes = 0;
  training.metrics = {};
  training.evaluation = {};
  training.sampling = {};
  training.checkpoint = {};
  training.branches.clear();
  for (Source &source : training.sources) {
    source.paths.clear();  // where the text lies; what it says has a fingerprint of its own
    source.epochs_at_most = 0;
    source.domain.clear();
  }
  return sha256(written(training, false));
}

std::string schedule_fingerprint(const Recipe &recipe) {
  Recipe schedule;
  schedule.schedule = recipe.schedule;
  schedule.schedule.plugin.clear();
  for (const Phase &phase : recipe.phases) schedule.phases.emplace_back().overrides.schedule = phase.overrides.schedule;
  return sha256(written(schedule, false));
}

}  // namespace trainhost
