#include "recipe/reader.h"

#include <filesystem>

#include <fmt/format.h>

#include "recipe/contradictions.h"
#include "recipe/document.h"
#include "recipe/fields.h"
#include "recipe/known_keys.h"
#include "recipe/table_reader.h"

namespace trainhost {
namespace {

// A visitor of the sections of a recipe, see fields.h.
class SectionReader {
 public:
  SectionReader(const Value &root, Reading &reading)
      : empty_{root.position, root.position, Table()}, root_(root, "", "", reading), reading_(reading) {}

  void table(const std::string &name, auto fields) {
    const Value *value = root_.take(name);
    read_table(value ? *value : empty_, name, name, "a table, [" + name + "]", fields);
  }

  template <class Item>
  void tables(const std::string &name, std::vector<Item> &items, auto fields) {
    const Value *value = root_.take(name);
    if (!value) return;
    const std::string expected = fmt::format("an array of tables, [[{}]]", name);
    const auto *array = std::get_if<Array>(&value->data);
    if (!array) return root_.refuse(name, *value, unlike(expected, *value).value());
    if (array->size() > kMostOf)
      return root_.refuse(name, *value, fmt::format("expected at most {} of them, found {}", kMostOf, array->size()));
    for (const Value &element : *array) {
      const std::string path = fmt::format("{}.{}", name, items.size());
      Item &item = items.emplace_back();
      item.position = element.position;
      read_table(element, name, path, expected, [&](TableReader &reader) { fields(reader, item); });
    }
  }

  void plugin(const std::string &name, PluginChoice &choice) {
    table(name, [&](TableReader &reader) {
      choice.position = reader.position();
      reader.plugin("plugin", choice.plugin);
      reader.remaining_parameters(choice.parameters);
    });
  }

  void finish() { root_.finish(); }

 private:
  void read_table(const Value &value, const std::string &name, const std::string &path, const std::string &expected, auto fields) {
    if (!std::holds_alternative<Table>(value.data)) return root_.refuse(name, value, unlike(expected, value).value());
    TableReader reader(value, name, path, reading_);
    fields(reader);
    reader.finish();
  }

  const Value empty_;
  TableReader root_;
  Reading &reading_;
};

void report_unknown_keys(Reading &reading) {
  for (const auto &[table, key, position, known] : reading.unknown_keys) {
    std::string hint = reading.mistakes.did_you_mean(key, known);
    for (const std::string &other : reading.known_keys)
      if (hint.empty() && other.ends_with("." + key) && other != table + "." + key) hint = fmt::format("; did you mean `{}`?", other);
    if (hint.empty()) hint = fmt::format("; known are {}", fmt::join(known, ", "));
    reading.mistakes.add(position, fmt::format("`{}{}{}`: unknown key{}", table, table.empty() ? "" : ".", key, hint));
  }
}

void normalise(std::map<std::string, double> &mix) {
  double sum = 0;
  for (const auto &[source, share] : mix) sum += share;
  // What is one but for rounding stays, so that a resolved recipe reads back the same.
  if (sum <= 0 || std::abs(sum - 1) < 1e-12) return;
  for (auto &[source, share] : mix) share /= sum;
}

void normalise(Overrides &overrides) {
  if (overrides.mix) normalise(*overrides.mix);
  for (SizedMix &row : overrides.mix_by_size) normalise(row.shares);
}

// Defaults that depend on other keys.
void complete(Recipe &recipe, const Position &start) {
  if (recipe.phases.empty()) recipe.phases.push_back({"train", std::nullopt, {}, start});
  Overrides before{.mix = {{}}};
  for (const Source &source : recipe.sources) before.mix->emplace(source.name, 1);
  for (Phase &phase : recipe.phases) {
    Overrides &own = phase.overrides;
    if (!own.mix && own.mix_by_size.empty()) {
      own.mix = before.mix;
      own.mix_by_size = before.mix_by_size;
    }
    normalise(own);
    before = own;
  }
  for (Branch &branch : recipe.branches) normalise(branch.overrides);
}

Recipe read_sections(const Value &root, Reading &reading, Recipe recipe) {
  SectionReader sections(root, reading);
  visit_recipe(sections, recipe);
  sections.finish();
  report_unknown_keys(reading);
  recipe.given = reading.given;
  return recipe;
}

}  // namespace

RecipeReading read_recipe_with_mistakes(const std::string &path, const std::vector<std::string> &settings) {
  Reading reading;
  RecipeDocument document = read_document(path, reading.mistakes);
  if (!reading.mistakes.empty()) return {std::nullopt, std::move(reading.mistakes).sorted(document.files)};
  apply_settings(document, settings, reading.mistakes);

  std::error_code ignored;
  const std::filesystem::path file = std::filesystem::absolute(path, ignored).lexically_normal();
  reading.folder = file.parent_path().string();
  Recipe defaults;
  defaults.file = file.string();
  defaults.layers = document.layers;
  defaults.run.directory = (file.parent_path() / "runs" / file.stem()).string();
  defaults.tokenizer.plugin = "byte_bpe";
  defaults.model.plugin = "minicpm";
  defaults.optimizer.plugin = "adamw";
  defaults.schedule.plugin = "wsd";
  defaults.mixer.plugin = "weighted";

  Recipe recipe = read_sections(document.root, reading, std::move(defaults));
  complete(recipe, document.root.position);
  find_contradictions(recipe, document.root.position, reading.mistakes);
  if (reading.mistakes.empty()) return {std::move(recipe), {}};
  return {std::move(recipe), std::move(reading.mistakes).sorted(document.files)};
}

tl::expected<Recipe, std::vector<RecipeError>> read_recipe(const std::string &path, const std::vector<std::string> &settings) {
  RecipeReading reading = read_recipe_with_mistakes(path, settings);
  if (!reading.mistakes.empty()) return tl::unexpected(std::move(reading.mistakes));
  return *std::move(reading.recipe);
}

std::set<std::string> known_keys() {
  const Value empty{{}, {}, Table()};
  Table root;
  for (const char *array : {"source", "phase", "branch"}) root.emplace(array, Value{{}, {}, Array{empty}});
  Reading reading;
  read_sections({{}, {}, std::move(root)}, reading, Recipe());
  reading.known_keys.insert("include");
  return reading.known_keys;
}

}  // namespace trainhost
