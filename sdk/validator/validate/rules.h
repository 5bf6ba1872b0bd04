// The rules of the contract that a running plugin can be held to. sdk/docs/rules.md explains each.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "validate/trial.h"

namespace trainhost::validator {

struct Rule {
  std::string_view id;    // "TH-OPT-03": stable, never given to another rule
  std::string_view text;  // what holds of a plugin that keeps it
  Result<> (*check)(const Trial &);
};

// What a kind adds to the rules of all.
struct KindRules {
  std::span<const Rule> rules;
  // One whole life of an instance in a host that treats it as the record says: created, used for everything, ended. Gives all results as
  // bytes, a function of the trial's seed.
  Result<std::string> (*live)(const Trial &, const SharedRecord &);
};

const KindRules &tokenizer_rules();
const KindRules &dataset_mixer_rules();
const KindRules &optimizer_rules();
const KindRules &lr_scheduler_rules();
const KindRules &model_rules();

const KindRules &rules_of(PluginKind kind);
std::span<const Rule> rules_of_every_kind();

// Bytes of a value at the end of results.
template <class Value>
void append(std::string &results, const Value &value) {
  results.append(reinterpret_cast<const char *>(&value), sizeof value);
}

}  // namespace trainhost::validator
