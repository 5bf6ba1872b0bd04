// Every mistake that the reader can find, with its exact place and text. Each .toml file here begins with one line
// "# expect: LINE:COLUMN message" for each error, in order; errors of other files and settings are written as they are shown.
// A line "# set: KEY=VALUE" is a --set of the command line.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "recipe/known_keys.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(TRAINHOST_SOURCE_DIR) / "tests/recipe_errors";

std::vector<std::string> lines_of(const std::filesystem::path &path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> lines_after(const std::string &prefix, const std::vector<std::string> &lines) {
  std::vector<std::string> found;
  for (const std::string &line : lines)
    if (line.starts_with(prefix)) found.push_back(line.substr(prefix.size()));
  return found;
}

std::vector<std::string> recipes() {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(kFolder))
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

class RecipeErrors : public testing::TestWithParam<std::string> {};

TEST_P(RecipeErrors, AreAllReportedInOrderWithTheirPlaces) {
  std::filesystem::current_path(kFolder);
  const std::string file = GetParam() + ".toml";
  const std::vector<std::string> lines = lines_of(file);
  const auto recipe = read_recipe(file, lines_after("# set: ", lines));
  ASSERT_FALSE(recipe) << "the recipe was taken for sound";
  std::vector<std::string> found;
  for (const RecipeError &error : recipe.error()) {
    const Position &position = error.position;
    if (position.file == file && position.line > 0)
      found.push_back(std::to_string(position.line) + ":" + std::to_string(position.column) + " " + error.message);
    else
      found.push_back(to_string(error));
  }
  EXPECT_EQ(found, lines_after("# expect: ", lines));
}

INSTANTIATE_TEST_SUITE_P(All, RecipeErrors, testing::ValuesIn(recipes()), [](const auto &info) { return info.param; });

TEST(RecipeErrors, AreManyKinds) { EXPECT_GE(recipes().size(), 90u); }

// The keys of a recipe are an interface: a change of keys.golden is a decision.
TEST(KnownKeys, AreThoseOfTheGoldenList) {
  const std::set<std::string> keys = known_keys();
  EXPECT_EQ(std::vector<std::string>(keys.begin(), keys.end()), lines_of(kFolder / "keys.golden"));
}

// "run.tokens" must be a row "| `tokens` |" below the heading "## `[run]`".
TEST(KnownKeys, StandInTheReference) {
  const std::vector<std::string> lines = lines_of(std::filesystem::path(TRAINHOST_SOURCE_DIR) / "core/docs/recipe.md");
  std::set<std::string> documented;
  std::string table;
  for (const std::string &line : lines) {
    if (line.starts_with("## ")) {
      const size_t start = line.find_first_not_of('[', line.find('[')), end = line.find(']');
      table = end == std::string::npos ? "" : line.substr(start, end - start) + ".";
    }
    if (line.starts_with("| `")) documented.insert(table + line.substr(3, line.find('`', 3) - 3));
  }
  const std::set<std::string> keys = known_keys();
  EXPECT_EQ(std::vector<std::string>(keys.begin(), keys.end()), std::vector<std::string>(documented.begin(), documented.end()));
}

}  // namespace
}  // namespace trainhost
