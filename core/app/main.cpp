// trainhost [VERB] OPTIONS: parses the command line and calls the verb.
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <boost/algorithm/string/split.hpp>
#include <boost/program_options.hpp>

#include "app/average_verb.h"
#include "app/check_recipe.h"
#include "app/checkpoints_verb.h"
#include "app/compare_verb.h"
#include "app/deepen_verb.h"
#include "app/doctor_verb.h"
#include "app/plan_verb.h"
#include "app/plugins_verb.h"
#include "app/report_verb.h"
#include "app/strengthen_verb.h"
#include "app/verbs.h"
#include "base/command_line.h"
#include "collectives/error_file.h"
#include "collectives/launch_environment.h"
#include "collectives/launcher.h"
#include "plugin_host/plugin_call.h"
#include "plugin_host/registry.h"

namespace options = boost::program_options;

namespace trainhost {
namespace {

template <class Value>
std::optional<Value> given_value(const options::variables_map &given, const char *name) {
  return given.count(name) ? std::optional(given[name].as<Value>()) : std::nullopt;
}

options::options_description recipe_options() {
  options::options_description description("options");
  description.add_options()("recipe", options::value<std::string>()->required(), "the recipe to run (TOML)")(
      "set", options::value<std::vector<std::string>>()->composing()->default_value({}, ""),
      "KEY=VALUE: override a key of the recipe; may be repeated");
  return description;
}

options::options_description run_options() {
  options::options_description description("options");
  description.add_options()("run", options::value<std::string>()->required(), "a run directory")(
      "step", options::value<uint64_t>(), "use the checkpoint of this step instead of the newest")("json", options::bool_switch(),
                                                                                                   "print JSON");
  return description;
}

RecipeOptions recipe_from(const options::variables_map &given) {
  return {given["recipe"].as<std::string>(), given["set"].as<std::vector<std::string>>()};
}

RunOptions run_from(const options::variables_map &given) {
  return {.directory = given["run"].as<std::string>(), .step = given_value<uint64_t>(given, "step"), .json = given["json"].as<bool>()};
}

// The settings of the launcher when this process is to be one; the ranks, which have the same arguments, are none.
Result<std::optional<LauncherSettings>> launcher_from(const options::variables_map &given) {
  TRAINHOST_TRY(const LaunchEnvironment launch, detect_launch(process_environment()));
  if (given.count("processes") == 0) {
    if (given.count("restarts") == 0 && given.count("rank-logs") == 0) return std::nullopt;
    return failure(ErrorKind::kUsage, "--restarts and --rank-logs go with --processes");
  }
  if (launch.launcher == Launcher::kTrainhost) return std::nullopt;
  const uint32_t processes = given["processes"].as<uint32_t>();
  if (launch.world_size > 1) {
    return failure(ErrorKind::kUsage,
                   fmt::format("--processes {} in one of {} processes that are there already ({}): leave one of the two out", processes,
                               launch.world_size, to_string(launch.launcher)));
  }
  if (processes == 0) return failure(ErrorKind::kUsage, "--processes is 0, expected 1 or more");
  LauncherSettings settings;
  settings.command = own_command();
  settings.processes = processes;
  if (given.count("restarts")) settings.restarts = given["restarts"].as<uint32_t>();
  if (given.count("rank-logs")) settings.log_folder = given["rank-logs"].as<std::string>();
  return settings;
}

Verb train_verb() {
  Verb verb{"trainhost [train] --recipe FILE", "train; goes on where it stopped", recipe_options(), {}, {}};
  verb.accepted.add_options()("from", options::value<std::string>()->default_value(""),
                              "a checkpoint directory to begin with when the run has none of its own")(
      "branch", options::value<std::string>()->default_value(""),
      "train this branch alone, from the checkpoint that the run has left for it")(
      "accept-changes", options::bool_switch(), "go on although recipe, data or plugins differ from the checkpoint's")(
      "processes", options::value<uint32_t>(), "train with this many processes on this machine")(
      "restarts", options::value<uint32_t>(), "start all processes again when one fails, this many times (3)")(
      "rank-logs", options::value<std::string>(), "write what process N writes to DIRECTORY/rank-N.log instead of showing it");
  verb.act = [](const auto &given) -> Result<> {
    TRAINHOST_TRY(const auto launcher, launcher_from(given));
    if (launcher) return launch(*launcher);
    return train(recipe_from(given), given["branch"].template as<std::string>(),
                 {.from = given["from"].template as<std::string>(), .accept_changes = given["accept-changes"].template as<bool>()});
  };
  return verb;
}

Verb evaluate_verb() {
  Verb verb{"trainhost evaluate --run DIRECTORY", "measure held-out loss", run_options(), {}, {}};
  verb.accepted.add_options()("layers", options::bool_switch(),
                              "say of each block how far it turns its input, and what the loss is without it, on easy and on hard text");
  verb.act = [](const auto &given) { return evaluate(run_from(given), given["layers"].template as<bool>(), std::cout); };
  return verb;
}

Verb generate_verb() {
  Verb verb{"trainhost generate --run DIRECTORY --prompt TEXT", "write what the model makes of a prompt", run_options(), {}, {}};
  const SamplingSettings defaults;
  verb.accepted.add_options()("prompt", options::value<std::string>()->default_value(""), "the text to go on from")(
      "tokens", options::value<uint32_t>()->default_value(defaults.tokens), "how many tokens at most")(
      "temperature", options::value<double>()->default_value(defaults.temperature, "0.8"), "0: always the likeliest token")(
      "top-p", options::value<double>()->default_value(defaults.top_p, "0.95"),
      "draw from the likeliest tokens whose probabilities sum to this")("seed", options::value<uint64_t>()->default_value(defaults.seed),
                                                                        "the same seed gives the same text");
  verb.act = [](const auto &given) -> Result<> {
    const SamplingSettings settings{.tokens = given["tokens"].template as<uint32_t>(),
                                    .temperature = given["temperature"].template as<double>(),
                                    .top_p = given["top-p"].template as<double>(),
                                    .seed = given["seed"].template as<uint64_t>()};
    if (!(settings.temperature >= 0))
      return failure(ErrorKind::kUsage, fmt::format("--temperature is {}, expected 0 or more", settings.temperature));
    if (!(settings.top_p > 0 && settings.top_p <= 1))
      return failure(ErrorKind::kUsage, fmt::format("--top-p is {}, expected more than 0 and at most 1", settings.top_p));
    return generate(run_from(given), given["prompt"].template as<std::string>(), settings, std::cout);
  };
  return verb;
}

Verb plugins_verb() {
  Verb verb{
      "trainhost plugins [NAME]", "list the plugins found, or the parameters of one", options::options_description("options"), {}, {}};
  verb.accepted.add_options()("name", options::value<std::string>()->default_value(""), "show the parameters of this plugin")(
      "json", options::bool_switch(), "print JSON");
  verb.positional.add("name", 1);
  verb.act = [](const auto &given) {
    const PluginRegistry registry(PluginRegistry::search_path());
    return print_plugins(registry, given["name"].template as<std::string>(), given["json"].template as<bool>(), std::cout);
  };
  return verb;
}

Verb checkpoints_verb() {
  Verb verb{"trainhost checkpoints --run DIRECTORY", "list the checkpoints of a run", options::options_description("options"), {}, {}};
  verb.accepted.add_options()("run", options::value<std::string>()->required(), "a run directory")(
      "verify", options::bool_switch(), "read and verify every byte")("json", options::bool_switch(), "print JSON");
  verb.act = [](const auto &given) {
    const CheckpointsQuery query{.folder = given["run"].template as<std::string>() + "/checkpoints",
                                 .verify = given["verify"].template as<bool>(),
                                 .json = given["json"].template as<bool>()};
    return print_checkpoints(query, posix_file_system(), std::cout);
  };
  return verb;
}

// As the C library reads them: the first that is set decides.
bool locale_is_utf8() {
  for (const char *name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char *value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view locale = value;
    return locale.find("UTF-8") != std::string_view::npos || locale.find("utf8") != std::string_view::npos;
  }
  return false;
}

Result<> plan(const options::variables_map &given) {
  const bool memory = given["memory"].as<bool>(), schedule = given["schedule"].as<bool>(), json = given["json"].as<bool>();
  const uint32_t processes = given["processes"].as<uint32_t>();
  const std::string svg = given["svg"].as<std::string>();
  if (memory == schedule) {
    return failure(ErrorKind::kUsage,
                   memory ? "--memory and --schedule are two plans: give one" : "nothing to plan: give --memory or --schedule");
  }
  if (!svg.empty() && !schedule) return failure(ErrorKind::kUsage, "--svg goes with --schedule");
  if (processes == 0) return failure(ErrorKind::kUsage, "--processes is 0, expected 1 or more");
  const RecipeOptions recipe = recipe_from(given);
  if (schedule) {
    TRAINHOST_TRY(const CheckedRecipe checked, read_and_check(recipe));
    return print_schedule_plan(checked, {.svg = svg, .json = json, .blocks = locale_is_utf8()}, std::cout);
  }
  TRAINHOST_TRY(const CheckedRecipe checked, check_recipe(recipe.file, recipe.settings));
  return print_memory_plan(checked, {.processes = processes, .json = json}, std::cout);
}

Verb plan_verb() {
  Verb verb{
      "trainhost plan --memory|--schedule --recipe FILE", "say what a run will take or do, without running it", recipe_options(), {}, plan};
  verb.accepted.add_options()("memory", options::bool_switch(), "the memory of each process, by part")(
      "processes", options::value<uint32_t>()->default_value(1), "for so many processes")(
      "schedule", options::bool_switch(), "learning rate, mix and batch over the token axis")(
      "svg", options::value<std::string>()->default_value("", ""), "write the schedule to this file as a picture, too")(
      "json", options::bool_switch(), "print JSON");
  return verb;
}

Verb report_verb() {
  Verb verb{"trainhost report --run DIRECTORY",
            "say what training did in each phase of a run, and where its loss curve bends",
            options::options_description("options"),
            {},
            {}};
  verb.accepted.add_options()("run", options::value<std::string>()->required(), "a run directory, or that of a branch")(
      "json", options::bool_switch(), "print JSON");
  verb.act = [](const auto &given) {
    const ReportQuery query{.directory = given["run"].template as<std::string>(), .json = given["json"].template as<bool>()};
    return print_report(query, posix_file_system(), std::cout);
  };
  return verb;
}

Verb doctor_verb() {
  Verb verb{
      "trainhost doctor", "say what this machine offers and what keeps it from training", options::options_description("options"), {}, {}};
  verb.accepted.add_options()("json", options::bool_switch(), "print JSON");
  verb.act = [](const auto &given) { return print_diagnosis(given["json"].template as<bool>(), std::cout); };
  return verb;
}

Verb consolidate_verb() {
  Verb verb{"trainhost checkpoints consolidate RUN_OR_STEP --output FILE",
            "write the weights of a checkpoint as one safetensors file",
            options::options_description("options"),
            {},
            {}};
  verb.accepted.add_options()("from", options::value<std::string>()->required(),
                              "a run directory (its newest checkpoint is taken) or the directory of one checkpoint")(
      "output", options::value<std::string>()->required(), "the file to write; it must not be there yet");
  verb.positional.add("from", 1);
  verb.act = [](const auto &given) {
    const ConsolidateQuery query{.source = given["from"].template as<std::string>(), .output = given["output"].template as<std::string>()};
    return consolidate_checkpoint(query, posix_file_system(), std::cout);
  };
  return verb;
}

// "100,200,300"
Result<std::vector<uint64_t>> steps_from(const std::string &text) {
  std::vector<uint64_t> steps;
  for (const char *at = text.data(), *end = at + text.size(); at < end; ++at) {
    const auto [next, problem] = std::from_chars(at, end, steps.emplace_back());
    if (problem != std::errc() || (next != end && *next != ',')) {
      return failure(ErrorKind::kUsage, fmt::format("--steps is \"{}\", expected numbers with commas between them", text));
    }
    at = next;
  }
  return steps;
}

Result<AveragingRule> averaging_rule_from(const options::variables_map &given) {
  AveragingRule rule{.method = given["method"].as<std::string>()};
  const auto alpha = given_value<double>(given, "alpha");
  const auto shape = given_value<std::string>(given, "shape");
  if (alpha && rule.method != "ema") return failure(ErrorKind::kUsage, "--alpha goes with --method ema");
  if (shape && rule.method != "wsm") return failure(ErrorKind::kUsage, "--shape goes with --method wsm");
  if (!alpha && rule.method == "ema")
    return failure(ErrorKind::kUsage, "--method ema needs --alpha, what an average keeps of itself when the next checkpoint comes, as 0.5");
  rule.alpha = alpha.value_or(0);
  if (shape) rule.shape = *shape;
  return rule;
}

Verb average_verb() {
  Verb verb{"trainhost checkpoints average RUN_OR_STEPS --output DIRECTORY",
            "average checkpoints into one that can be used like any other",
            options::options_description("options"),
            {},
            {}};
  verb.accepted.add_options()("checkpoint", options::value<std::vector<std::string>>()->required(),
                              "a run directory, or the directories of checkpoints")(
      "method", options::value<std::string>()->default_value("mean"), "mean, ema, polyak (the mean of all of a run) or wsm")(
      "alpha", options::value<double>(), "of ema: what an average keeps of itself when the next checkpoint comes")(
      "shape", options::value<std::string>(),
      "of wsm: the decay that it stands for: one_minus_sqrt (the default), linear, cosine, mirror_cosine or square")(
      "last", options::value<uint32_t>(), "of the run: the newest so many")(
      "steps", options::value<std::string>(), "of the run: those of these steps, as 100,200,300")("from", options::value<uint64_t>(),
                                                                                                  "of the run: those from this step on")(
      "until", options::value<uint64_t>(), "of the run: those up to this step")("output", options::value<std::string>()->required(),
                                                                                "the run directory to make; it must not be there yet")(
      "json", options::bool_switch(), "print JSON");
  verb.positional.add("checkpoint", -1);
  verb.act = [](const auto &given) -> Result<> {
    TRAINHOST_TRY(const AveragingRule rule, averaging_rule_from(given));
    TRAINHOST_TRY(const auto steps, steps_from(given_value<std::string>(given, "steps").value_or("")));
    const AverageQuery query{.sources = given["checkpoint"].template as<std::vector<std::string>>(),
                             .rule = rule,
                             .last = given_value<uint32_t>(given, "last"),
                             .steps = steps,
                             .from = given_value<uint64_t>(given, "from"),
                             .until = given_value<uint64_t>(given, "until"),
                             .output = given["output"].template as<std::string>(),
                             .json = given["json"].template as<bool>()};
    return average(query, posix_file_system(), std::cout);
  };
  return verb;
}

// "attention.out.weight,feed_forward.down.weight"
std::vector<std::string> names_from(const std::string &text) {
  std::vector<std::string> names;
  if (!text.empty()) boost::algorithm::split(names, text, [](char c) { return c == ','; });
  return names;
}

// "12-28": [12, 28)
Result<Deepening> layers_from(const std::string &text) {
  Deepening deepening;
  const char *const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, deepening.begin);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == '-') {
    const auto last = std::from_chars(first.ptr + 1, end, deepening.end);
    if (last.ec == std::errc() && last.ptr == end) return deepening;
  }
  return failure(ErrorKind::kUsage, fmt::format("--layers is \"{}\", expected two numbers, as 12-28: from layer 12 up to layer 27", text));
}

Verb deepen_verb() {
  Verb verb{"trainhost checkpoints deepen STEP --layers A-B --output DIRECTORY",
            "copy layers of a checkpoint for a deeper model",
            options::options_description("options"),
            {},
            {}};
  verb.accepted.add_options()("checkpoint", options::value<std::string>()->required(), "the directory of a checkpoint, in a run")(
      "layers", options::value<std::string>()->required(), "12-28: layers 12 to 27, counted from 0, are copied and follow layer 27")(
      "zero-output", options::value<std::string>()->default_value(""),
      "parameters of a layer, as attention.out.weight,feed_forward.down.weight: zero in the copies, so that the model computes what it "
      "did")("set", options::value<std::vector<std::string>>()->composing()->default_value({}, ""),
             "KEY=VALUE: what changes in the recipe, as model.layers=48; may be repeated")(
      "output", options::value<std::string>()->required(), "the run directory to make; it must not be there yet")(
      "json", options::bool_switch(), "print JSON");
  verb.positional.add("checkpoint", 1);
  verb.act = [](const auto &given) -> Result<> {
    TRAINHOST_TRY(Deepening deepening, layers_from(given["layers"].template as<std::string>()));
    deepening.zeroed = names_from(given["zero-output"].template as<std::string>());
    const DeepenQuery query{.checkpoint = given["checkpoint"].template as<std::string>(),
                            .deepening = std::move(deepening),
                            .settings = given["set"].template as<std::vector<std::string>>(),
                            .output = given["output"].template as<std::string>(),
                            .json = given["json"].template as<bool>()};
    return deepen_checkpoint(query, posix_file_system(), std::cout);
  };
  return verb;
}

Verb compare_verb() {
  Verb verb{"trainhost compare RECIPES --output DIRECTORY",
            "train recipes, variants and branches with several seeds and say which differ",
            options::options_description("options"),
            {},
            {}};
  verb.accepted.add_options()("recipe", options::value<std::vector<std::string>>()->required(),
                              "the recipes (TOML); the others are compared with the first")(
      "variant", options::value<std::vector<std::string>>()->composing()->default_value({}, ""),
      "NAME: KEY=VALUE; KEY=VALUE: the one recipe with other settings; may be repeated")(
      "set", options::value<std::vector<std::string>>()->composing()->default_value({}, ""),
      "KEY=VALUE: override a key of all; may be repeated")("seeds", options::value<uint32_t>()->default_value(3),
                                                           "how many runs of each, with the seeds 1, 2, ...")(
      "processes", options::value<uint32_t>()->default_value(0, "none"), "train each with this many processes on this machine")(
      "until", options::value<std::string>()->default_value("", "none"),
      "SOURCE=LOSS: also say what each took to this held-out loss, and the critical batch")(
      "tolerance", options::value<double>()->default_value(0.01, "0.01"),
      "nats per byte above the run's loss up to which a branch with another batch has recovered")(
      "output", options::value<std::string>()->required(), "the folder of the runs; those finished in it are not run again")(
      "json", options::bool_switch(), "print JSON");
  verb.positional.add("recipe", -1);
  verb.act = [](const auto &given) {
    const CompareQuery query{.recipes = given["recipe"].template as<std::vector<std::string>>(),
                             .variants = given["variant"].template as<std::vector<std::string>>(),
                             .settings = given["set"].template as<std::vector<std::string>>(),
                             .seeds = given["seeds"].template as<uint32_t>(),
                             .processes = given["processes"].template as<uint32_t>(),
                             .until = given["until"].template as<std::string>(),
                             .tolerance = given["tolerance"].template as<double>(),
                             .output = given["output"].template as<std::string>(),
                             .json = given["json"].template as<bool>()};
    return compare(query, std::cout);
  };
  return verb;
}

Verb strengthen_verb() {
  Verb verb{"trainhost strengthen --run DIRECTORY --output DIRECTORY",
            "find the source that a run is weakest at, and try whether more of it at the end of training mends that",
            options::options_description("options"),
            {},
            {}};
  const StrengthenQuery defaults;
  verb.accepted.add_options()("run", options::value<std::string>()->required(), "a run directory; it is only read")(
      "step", options::value<uint64_t>(), "begin with the checkpoint of this step instead of the newest before the decay")(
      "reference", options::value<std::string>()->default_value("", "none"), "a run directory whose last held-out losses are the targets")(
      "target", options::value<std::vector<std::string>>()->composing()->default_value({}, ""),
      "SOURCE=LOSS: a target in nats per byte; may be repeated")("length", options::value<std::string>()->default_value(defaults.length),
                                                                 "of each decay, as 10% (of the run), 20M tokens or 500 steps")(
      "share", options::value<double>()->default_value(defaults.share, "0.5"), "of the proposed mix goes to the weakest source")(
      "seeds", options::value<uint32_t>()->default_value(defaults.seeds), "how many decays of each mix, with the seeds 1, 2, ...")(
      "processes", options::value<uint32_t>()->default_value(0, "none"), "train each with this many processes on this machine")(
      "set", options::value<std::vector<std::string>>()->composing()->default_value({}, ""),
      "KEY=VALUE: override a key of the run's recipe in all decays; may be repeated")(
      "output", options::value<std::string>()->required(), "the folder of the decays; those finished in it are not run again")(
      "json", options::bool_switch(), "print JSON");
  verb.act = [](const auto &given) {
    const StrengthenQuery query{.run = given["run"].template as<std::string>(),
                                .step = given_value<uint64_t>(given, "step"),
                                .reference = given["reference"].template as<std::string>(),
                                .targets = given["target"].template as<std::vector<std::string>>(),
                                .length = given["length"].template as<std::string>(),
                                .share = given["share"].template as<double>(),
                                .seeds = given["seeds"].template as<uint32_t>(),
                                .processes = given["processes"].template as<uint32_t>(),
                                .settings = given["set"].template as<std::vector<std::string>>(),
                                .output = given["output"].template as<std::string>(),
                                .json = given["json"].template as<bool>()};
    return strengthen(query, posix_file_system(), std::cout);
  };
  return verb;
}

Verbs all_verbs() {
  return {{"train", train_verb()},
          {"check",
           {"trainhost check --recipe FILE",
            "check a recipe and print it with all defaults",
            recipe_options(),
            {},
            [](const auto &given) { return check(recipe_from(given), std::cout); }}},
          {"prepare",
           {"trainhost prepare --recipe FILE",
            "train the tokenizer and tokenize, without training",
            recipe_options(),
            {},
            [](const auto &given) { return prepare(recipe_from(given), std::cout); }}},
          {"evaluate", evaluate_verb()},
          {"generate", generate_verb()},
          {"plugins", plugins_verb()},
          {"checkpoints", checkpoints_verb()},
          {"checkpoints average", average_verb()},
          {"checkpoints consolidate", consolidate_verb()},
          {"checkpoints deepen", deepen_verb()},
          {"plan", plan_verb()},
          {"compare", compare_verb()},
          {"report", report_verb()},
          {"strengthen", strengthen_verb()},
          {"doctor", doctor_verb()}};
}

}  // namespace
}  // namespace trainhost

int main(int argc, char **argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is to be reported as a failed write
  trainhost::blame_plugins_for_crashes();
  const trainhost::CommandLine command_line{.program = "trainhost",
                                            .version = TRAINHOST_VERSION,
                                            .about = "trains language models from scratch",
                                            .without_arguments = "name a recipe",
                                            .default_verb = "train",
                                            .verbs = trainhost::all_verbs()};
  const auto outcome = command_line.run({argv + 1, argv + argc});
  if (!outcome) trainhost::write_error_file(outcome.error());
  return trainhost::exit_code_of(outcome);
}
