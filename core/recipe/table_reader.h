// Reads the keys of one table of a recipe into typed values. Each call takes one key: absent, it leaves the value as it is (its
// default); of a wrong type or out of range, it is a mistake. What was never taken is unknown.
#pragma once

#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "recipe/conversion.h"
#include "recipe/document.h"
#include "recipe/mistakes.h"

namespace trainhost {

// What all tables of one recipe share while it is read.
struct Reading {
  Mistakes mistakes;
  std::string folder;                     // absolute, of the recipe: what paths in settings are relative to
  std::map<std::string, Position> given;  // see Recipe::given
  std::set<std::string> known_keys;       // "run.tokens", "phase.batch": all that were asked for

  struct UnknownKey {
    std::string table, key;
    Position position;
    std::vector<std::string> known;  // in this table
  };
  std::vector<UnknownKey> unknown_keys;  // reported when all known keys were seen: one may belong to another table
};

class TableReader {
 public:
  // `name` is the table as the user knows it ("phase"), `path` the place in the document ("phase.1"); empty for the root.
  TableReader(const Value &table, std::string name, std::string path, Reading &reading);

  // `out` may be optional in all of these.
  void boolean(const std::string &key, auto &out) { read(key, out, to_boolean); }
  void integer(const std::string &key, auto &out, uint64_t minimum, uint64_t maximum) {
    read(key, out, [&](const Value &value) { return to_integer(value, minimum, maximum); });
  }
  void number(const std::string &key, auto &out, double minimum, double maximum = std::numeric_limits<double>::infinity()) {
    read(key, out, [&](const Value &value) { return to_number(value, minimum, maximum); });
  }
  void share(const std::string &key, auto &out, double minimum, double maximum) {
    read(key, out, [&](const Value &value) { return to_share(value, minimum, maximum); });
  }
  void tokens(const std::string &key, auto &out, uint64_t minimum, uint64_t maximum) {
    read(key, out, [&](const Value &value) { return to_tokens(value, minimum, maximum); });
  }
  void amount(const std::string &key, auto &out) { read(key, out, to_amount); }
  void text(const std::string &key, auto &out) { read(key, out, to_text); }
  void choice(const std::string &key, auto &out, std::initializer_list<const char *> choices) {
    read(key, out, [&](const Value &value) { return to_choice(value, choices); });
  }

  void tokens_or_auto(const std::string &key, uint64_t &out, uint64_t minimum, uint64_t maximum);  // "auto" is 0
  void bytes_or_auto(const std::string &key, uint64_t &out);                                       // likewise
  void recompute(const std::string &key, std::optional<uint32_t> &out);                            // "auto" is nothing, see Recipe
  void texts(const std::string &key, std::vector<std::string> &out);
  void texts_or_all(const std::string &key, std::vector<std::string> &out);    // "all" is none
  void name(const std::string &key, std::string &out);                         // required
  void reference(const std::string &key, std::string &out);                    // required; what it refers to is checked later
  void directory(const std::string &key, std::string &out);                    // absolute, ${NAME} expanded
  void paths(const std::string &key, std::vector<std::string> &out);           // the same; required, at least one
  void folders(const std::string &key, std::vector<std::string> &out);         // the same; may be none
  void pins(const std::string &key, std::map<std::string, std::string> &out);  // id -> the digits after "sha256:"
  // Shares as written, or a table of them by the model's size.
  void mix(const std::string &key, std::optional<std::map<std::string, double>> &out, std::vector<SizedMix> &by_size);
  void batch(const std::string &key, auto &out) {
    if (const Value *value = take(key)) out = read_batch(key, *value);
  }
  void plugin(const std::string &key, std::string &out);     // a path becomes absolute
  void parameters(const std::string &key, Parameters &out);  // of the table below this one
  void remaining_parameters(Parameters &out);                // all keys not taken so far

  const Position &position() const { return position_; }
  // The value of a key as it is, or null.
  const Value *take(const std::string &key);
  void refuse(const std::string &key, const Value &value, const std::string &reason);
  // Records the keys that were not taken.
  void finish();

 private:
  void read(const std::string &key, auto &out, auto convert) {
    if (const Value *value = take(key)) convert_into(out, key, *value, convert);
  }
  void convert_into(auto &out, const std::string &key, const Value &value, auto convert) {
    if (auto converted = convert(value))
      out = *std::move(converted);
    else
      refuse(key, value, converted.error());
  }
  void read_paths(const std::string &key, const Array &array, std::vector<std::string> &out);
  void require(const std::string &key);
  void read_shares(const std::string &key, const Value &value, std::map<std::string, double> &out);
  void read_sized_mixes(const std::string &key, const Value &value, std::vector<SizedMix> &out);
  void read_sized_mix(const std::string &key, const Value &value, const std::string &path, SizedMix &out);
  Batch read_batch(const std::string &key, const Value &value);
  Batch read_levels(const std::string &key, const Array &levels);
  Batch read_rule(const std::string &key, const Value &rule);
  // The elements of an array, or null after a mistake.
  const Array *elements(const std::string &key, const Value &value, const std::string &expected);
  const Value *take_required(const std::string &key);
  // The path that a value holds, from the folder of the file where it stands.
  Converted<std::string> absolute_path(const Value &value) const;
  Converted<std::string> expanded_path(const Value &value) const;  // the same after ${NAME} was replaced

  const Table &table_;
  const Position position_;
  const std::string name_, path_;
  Reading &reading_;
  std::vector<std::string> known_;
};

}  // namespace trainhost
