// A TOML document as plain values that know where they were written: a recipe's files merged, the command line's settings on top.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "recipe/mistakes.h"
#include "recipe/recipe.h"

namespace trainhost {

struct Value;
using Array = std::vector<Value>;
using Table = std::map<std::string, Value>;
struct DateOrTime {};  // TOML has them; no key of a recipe does

struct Value {
  Position position;
  Position key_position;  // in an array: the value's own
  std::variant<Table, Array, std::string, bool, int64_t, double, DateOrTime> data;
};

// "a table", `the string "abc"`, "the integer 5": for messages that say what was found.
std::string description(const Value &value);

struct RecipeDocument {
  Value root;                       // a table
  std::vector<std::string> files;   // in reading order, as Position::file names them; the settings last
  std::vector<std::string> layers;  // the files that were merged, each over those before it
};

// Reads the file and merges what it includes: later keys win, the including file over all; arrays are replaced whole. A file that
// cannot be read or parsed leaves the root incomplete, with mistakes that name the reason.
RecipeDocument read_document(const std::string &path, Mistakes &mistakes);

// Lays settings over it, "key.path=value", in order. An element of an array of tables is named by its `name`: "phase.stable.until=80%".
void apply_settings(RecipeDocument &document, const std::vector<std::string> &settings, Mistakes &mistakes);

}  // namespace trainhost
