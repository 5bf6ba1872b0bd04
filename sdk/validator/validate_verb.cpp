#include "validate_verb.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include <fmt/format.h>
#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include "base/file_system.h"
#include "inspection.h"
#include "plugin_host/manifest.h"
#include "recipe/reader.h"
#include "validate/child.h"
#include "validate/rules.h"

namespace options = boost::program_options;

namespace trainhost {
namespace {

using validator::Outcome;
using validator::Rule;

struct ValidateQuery {
  std::string file;
  std::vector<std::string> settings;    // NAME=VALUE of the plugin's parameters
  std::vector<std::string> only, skip;  // rule ids
  uint64_t seed = 1;                    // of the random arguments; the same seed, the same checks
  uint32_t limit = 60;                  // seconds for one rule
  bool json = false;
  std::string junit;  // a file to write; empty: none
};

struct Finding {
  std::string id, text;  // of the rule
  Outcome outcome;
};

std::string_view to_string(Outcome::Kind kind) {
  constexpr std::string_view kNames[] = {"passed", "failed", "skipped"};
  return kNames[static_cast<size_t>(kind)];
}

ParameterValue value_of(const std::string &text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  return text;
}

// Those given, the manifest's defaults, and values in range for what has none.
Result<Parameters> parameters_of(const Manifest &manifest, const std::vector<std::string> &settings) {
  Parameters parameters = validator::parameters_in_range(manifest);
  for (const std::string &setting : settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos) return failure(ErrorKind::kUsage, fmt::format("--set {}: expected NAME=VALUE", setting));
    parameters[setting.substr(0, equals)] =
        Parameter{.value = value_of(setting.substr(equals + 1)), .given = true, .position = {"--set " + setting, 0, 0}};
  }
  const auto mistakes = check_parameters(manifest, parameters, {manifest.path, 0, 0});
  if (!mistakes.empty()) return failure(ErrorKind::kUsage, trainhost::to_string(mistakes.front()));
  return parameters;
}

std::vector<const Rule *> rules_for(PluginKind kind) {
  std::vector<const Rule *> rules;
  for (const Rule &rule : validator::rules_of_every_kind()) rules.push_back(&rule);
  for (const Rule &rule : validator::rules_of(kind).rules) rules.push_back(&rule);
  return rules;
}

std::string text_of(const ParameterValue &value) {
  return std::visit([](const auto &item) { return fmt::format("{}", item); }, value);
}

bool names(const std::vector<std::string> &ids, const Rule &rule) { return std::ranges::find(ids, rule.id) != ids.end(); }

Result<std::vector<const Rule *>> chosen_rules(PluginKind kind, const ValidateQuery &query) {
  std::vector<const Rule *> rules = rules_for(kind);
  std::vector<std::string> known;
  for (const Rule *rule : rules) known.emplace_back(rule->id);
  for (const auto *ids : {&query.only, &query.skip}) {
    for (const std::string &id : *ids) {
      if (std::ranges::find(known, id) != known.end()) continue;
      const std::string nearest = nearest_name(id, known);
      return failure(ErrorKind::kUsage, fmt::format("there is no rule {} for the kind {}{}", id, trainhost::to_string(kind),
                                                    nearest.empty() ? "" : "; did you mean " + nearest + "?"));
    }
  }
  std::erase_if(rules, [&](const Rule *rule) { return (!query.only.empty() && !names(query.only, *rule)) || names(query.skip, *rule); });
  return rules;
}

void print_finding(const Finding &finding, std::ostream &out) {
  const std::string_view mark = finding.outcome.kind == Outcome::Kind::kPassed   ? "ok"
                                : finding.outcome.kind == Outcome::Kind::kFailed ? "FAILED"
                                                                                 : "-";
  out << fmt::format("{:<7} {:<10} {}\n", mark, finding.id, finding.text);
  if (!finding.outcome.text.empty()) out << fmt::format("{:<18} {}\n", "", finding.outcome.text);
  out.flush();
}

nlohmann::ordered_json facts_of(const Manifest &manifest, const ValidateQuery &query, const std::vector<Finding> &findings) {
  nlohmann::ordered_json facts{{"file", manifest.path},       {"sha256", manifest.sha256}, {"id", manifest.id},
                               {"version", manifest.version}, {"seed", query.seed},        {"rules", nlohmann::ordered_json::array()}};
  for (const Finding &finding : findings) {
    facts["rules"].push_back({{"id", finding.id},
                              {"text", finding.text},
                              {"result", to_string(finding.outcome.kind)},
                              {"found", finding.outcome.text},
                              {"seconds", finding.outcome.seconds}});
  }
  return facts;
}

std::string xml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '<')
      escaped += "&lt;";
    else if (c == '&')
      escaped += "&amp;";
    else if (c == '"')
      escaped += "&quot;";
    else
      escaped += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return escaped;
}

// As continuous integration servers read it: one test case for a rule.
std::string junit_of(const Manifest &manifest, const std::vector<Finding> &findings) {
  const auto count = [&](Outcome::Kind kind) {
    return std::ranges::count_if(findings, [&](const Finding &finding) { return finding.outcome.kind == kind; });
  };
  std::string text =
      fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
                  xml(manifest.id), findings.size(), count(Outcome::Kind::kFailed), count(Outcome::Kind::kSkipped));
  for (const auto &[id, rule, outcome] : findings) {
    text += fmt::format("  <testcase classname=\"{}\" name=\"{}: {}\" time=\"{:.3f}\">", xml(manifest.id), id, xml(rule), outcome.seconds);
    if (outcome.kind == Outcome::Kind::kFailed) text += fmt::format("<failure message=\"{}\"/>", xml(outcome.text));
    if (outcome.kind == Outcome::Kind::kSkipped) text += fmt::format("<skipped message=\"{}\"/>", xml(outcome.text));
    text += "</testcase>\n";
  }
  return text + "</testsuite>\n";
}

void print_heading(const Manifest &manifest, const ValidateQuery &query, const Parameters &parameters, std::ostream &out) {
  out << describe(manifest) << ", seed " << query.seed << "\n";
  for (const auto &[name, parameter] : parameters) {
    const bool chosen = parameter.given && parameter.position.file.empty();
    if (chosen) out << fmt::format("  {} has no default; chosen: {}\n", name, text_of(parameter.value));
  }
}

// What is wrong with the file.
std::vector<Finding> findings_of(const Inspection &inspection) {
  std::vector<Finding> findings;
  for (const Problem &problem : inspection.problems) {
    const bool error = problem.severity == Severity::kError;
    findings.push_back({problem.rule,
                        fmt::format("{} of the file", to_string(problem.severity)),
                        {.kind = error ? Outcome::Kind::kFailed : Outcome::Kind::kSkipped, .text = problem.text + "; " + problem.fix}});
  }
  return findings;
}

// The rules of a running plugin.
Result<> run_rules(const Manifest &manifest, const ValidateQuery &query, std::vector<Finding> &findings, std::ostream &out) {
  TRAINHOST_TRY(const Parameters parameters, parameters_of(manifest, query.settings));
  TRAINHOST_TRY(const auto rules, chosen_rules(manifest.kind, query));
  if (!query.json) print_heading(manifest, query, parameters, out);
  const validator::Trial trial(manifest, parameters, query.seed);
  for (const Rule *rule : rules) {
    findings.push_back({std::string(rule->id), std::string(rule->text),
                        validator::run_in_child([&] { return rule->check(trial); }, std::chrono::seconds(query.limit))});
    if (!query.json) print_finding(findings.back(), out);
  }
  return {};
}

Result<> validate(const ValidateQuery &query, std::ostream &out) {
  TRAINHOST_TRY(const Inspection inspection, inspect_plugin(std::filesystem::absolute(query.file).lexically_normal().string()));
  std::vector<Finding> findings = findings_of(inspection);
  if (!query.json) {
    for (const Finding &finding : findings) print_finding(finding, out);
  }
  if (!inspection.manifest) return failure(ErrorKind::kPluginContract, query.file + ": it is not run, for its file is wrong");
  // Nothing of a plugin whose file is wrong is run.
  if (inspection.count(Severity::kError) == 0) TRAINHOST_CHECK(run_rules(*inspection.manifest, query, findings, out));
  if (query.json) out << facts_of(*inspection.manifest, query, findings).dump(2) << "\n";
  if (!query.junit.empty()) TRAINHOST_CHECK(write_atomically(posix_file_system(), query.junit, junit_of(*inspection.manifest, findings)));
  const auto failed =
      std::ranges::count_if(findings, [](const Finding &finding) { return finding.outcome.kind == Outcome::Kind::kFailed; });
  if (failed == 0) return {};
  return failure(ErrorKind::kPluginContract,
                 fmt::format("{} of {} rules are broken; sdk/docs/rules.md explains them", failed, findings.size()));
}

}  // namespace

Verb validate_verb() {
  using Texts = std::vector<std::string>;
  const ValidateQuery defaults;
  Verb verb{"trainhost-plugin validate FILE", "hold a plugin to the rules of its kind", options::options_description("options"), {}, {}};
  verb.accepted.add_options()("file", options::value<std::string>()->required(), "the plugin's shared library")(
      "set", options::value<Texts>()->composing()->default_value({}, ""), "NAME=VALUE: a parameter of the plugin; may be repeated")(
      "only", options::value<Texts>()->composing()->default_value({}, ""), "check this rule only; may be repeated")(
      "skip", options::value<Texts>()->composing()->default_value({}, ""), "leave this rule out; may be repeated")(
      "seed", options::value<uint64_t>()->default_value(defaults.seed), "of the random arguments: the same seed, the same checks")(
      "limit", options::value<uint32_t>()->default_value(defaults.limit), "seconds for one rule")(
      "json", options::bool_switch(), "print JSON")("junit", options::value<std::string>()->default_value(""),
                                                    "write a JUnit report to this file");
  verb.positional.add("file", 1);
  verb.act = [](const auto &given) {
    return validate({.file = given["file"].template as<std::string>(),
                     .settings = given["set"].template as<Texts>(),
                     .only = given["only"].template as<Texts>(),
                     .skip = given["skip"].template as<Texts>(),
                     .seed = given["seed"].template as<uint64_t>(),
                     .limit = given["limit"].template as<uint32_t>(),
                     .json = given["json"].template as<bool>(),
                     .junit = given["junit"].template as<std::string>()},
                    std::cout);
  };
  return verb;
}

}  // namespace trainhost
