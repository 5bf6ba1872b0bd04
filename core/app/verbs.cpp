#include "app/verbs.h"

#include <iostream>
#include <new>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/check_recipe.h"
#include "app/check_settings.h"
#include "app/layer_table.h"
#include "app/plugin_watch.h"
#include "app/stop_signal.h"
#include "app/trained_model.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "evaluate/epoch_account.h"
#include "evaluate/layer_probe.h"

namespace trainhost {
namespace {

struct Finished {
  std::string name;
  EvaluationReport held_out;
};

// One run from start (or where it stood) to end; its memory is free when this returns.
Result<Finished> run_to_end(const std::string &name, const CheckedRecipe &checked, const StartOptions &start, Console *console,
                            Processes &processes) {
  TRAINHOST_TRY(const auto run, Run::assemble(checked, start, console, stop_signal(), processes));
  if (run->finished()) log_info(fmt::format("{} is finished already", checked.recipe.run.directory));
  TRAINHOST_CHECK(run->train());
  Finished finished{.name = name, .held_out = {}};
  if (checked.recipe.branches.empty() && name == "trunk") return finished;  // nothing to compare with
  TRAINHOST_TRY(finished.held_out, run->measure());
  return finished;
}

// The trunk's checkpoint that the branch begins with.
Result<std::string> start_of(const Branch &branch, const Recipe &trunk) {
  const std::string folder = trunk.run.directory + "/checkpoints";
  if (posix_file_system().exists(folder)) {
    TRAINHOST_TRY(const auto checkpoints, CheckpointDirectory::view(posix_file_system(), folder));
    TRAINHOST_TRY(const auto saved, checkpoints.list());
    for (const CheckpointInfo &info : saved)
      if (info.label == branch.from && info.problem.empty()) return info.path;
  }
  return failure(ErrorKind::kData,
                 fmt::format("{}: no checkpoint \"{}\" for the branch \"{}\" to begin with; train the run up to there first", folder,
                             branch.from, branch.name));
}

Result<Finished> run_branch(const Branch &branch, const CheckedRecipe &trunk, bool accept_changes, Console *console, Processes &processes) {
  TRAINHOST_TRY(const std::string from, start_of(branch, trunk.recipe));
  log_info(fmt::format("branch \"{}\" from {}", branch.name, branch.from));
  const CheckedRecipe branched{branch_recipe(trunk.recipe, branch), trunk.plugins};
  return run_to_end(branch.name, branched, {.from = from, .accept_changes = accept_changes}, console, processes);
}

// Which branches of the recipe are meant: that of the name, or all when it is empty.
Result<std::vector<Branch>> branches_named(const std::string &name, const Recipe &recipe) {
  if (name.empty()) return recipe.branches;
  std::string names;
  for (const Branch &branch : recipe.branches) {
    if (branch.name == name) return std::vector{branch};
    names += (names.empty() ? "" : ", ") + branch.name;
  }
  return failure(ErrorKind::kUsage, fmt::format("--branch is \"{}\", expected a [[branch]] of {}{}", name, recipe.file,
                                                names.empty() ? ", which has none" : ": " + names));
}

void print_comparison(const std::vector<Finished> &runs, std::ostream &out) {
  out << "\nheld-out loss in nats per byte\n" << fmt::format("{:<20}", "source");
  for (const Finished &run : runs) out << fmt::format(" {:>16}", run.name);
  out << "\n";
  for (size_t row = 0; row < runs.front().held_out.rows.size(); ++row) {
    out << fmt::format("{:<20}", runs.front().held_out.rows[row].source);
    for (const Finished &run : runs) out << fmt::format(" {:>16.4f}", run.held_out.rows[row].loss_per_byte);
    out << "\n";
  }
  out.flush();
}

void log_mixes(const CheckedRecipe &checked) {
  for (const SettledMix &mix : checked.settled_mixes) log(mix.outside ? LogLevel::kWarning : LogLevel::kInfo, mix.text);
}

Result<> train_together(const CheckedRecipe &checked, const std::string &branch_name, const StartOptions &start, Processes &processes) try {
  TRAINHOST_TRY(const std::vector<Branch> branches, branches_named(branch_name, checked.recipe));
  const PluginDeadline deadline = watch_plugins(checked.recipe.parallel);
  const auto console = processes.first() ? open_console() : nullptr;
  if (processes.first()) log_mixes(checked);
  std::vector<Finished> runs;
  if (branch_name.empty()) {
    TRAINHOST_TRY(runs.emplace_back(), run_to_end("trunk", checked, start, console.get(), processes));
  }
  for (const Branch &branch : branches) {
    TRAINHOST_TRY(runs.emplace_back(), run_branch(branch, checked, start.accept_changes, console.get(), processes));
  }
  if (!checked.recipe.branches.empty() && processes.first()) print_comparison(runs, std::cout);
  return {};
} catch (const std::bad_alloc &) {
  return failure(
      ErrorKind::kInternal,
      "memory ran out; trainhost plan --memory says what the run takes, and training.memory limits it: take a smaller micro_batch, "
      "recompute, or cut more over the processes (parallel.sharding)");
}

nlohmann::ordered_json rows_json(const EvaluationReport &report) {
  nlohmann::ordered_json document{{"step", report.step}, {"tokens", report.tokens}, {"sources", nlohmann::ordered_json::object()}};
  for (const auto &row : report.rows) {
    document["sources"][row.source] = {
        {"loss_per_token", row.loss_per_token}, {"loss_per_byte", row.loss_per_byte}, {"tokens", row.tokens}};
  }
  return document;
}

void print_rows(const EvaluationReport &report, std::ostream &out) {
  out << fmt::format("step {}, {} tokens seen\n{:<20} {:>12} {:>12} {:>12}\n", report.step, report.tokens, "source", "nats/token",
                     "nats/byte", "tokens");
  for (const auto &row : report.rows) {
    out << fmt::format("{:<20} {:>12.4f} {:>12.4f} {:>12}\n", row.source, row.loss_per_token, row.loss_per_byte, row.tokens);
  }
}

// Shows how far it is, unless what is printed is JSON, which goes to the same place.
Result<LayerProbe> probe_layers(TrainedModel &trained, const std::vector<HeldOutSource> &sources, const std::vector<HeldOutLosses> &whole,
                                const std::vector<uint32_t> &bytes_per_id, bool json) {
  const auto console = json ? nullptr : open_console();
  return probe_layers(trained.runner(), sources, whole, bytes_per_id, stop_signal(), [&](uint64_t done, uint64_t total) {
    if (console) console->progress("leaving out layers", done, total);
  });
}

}  // namespace

Result<> train(const RecipeOptions &options, const std::string &branch, const StartOptions &start) {
  stop_signal();  // from here on a signal does not kill
  TRAINHOST_TRY(const CheckedRecipe checked, check_recipe(options.file, options.settings));
  TRAINHOST_TRY(const auto processes, Processes::join(checked.recipe.parallel));
  const Result<> outcome = train_together(checked, branch, start, *processes);
  processes->leave(outcome);
  return outcome;
}

Result<CheckedRecipe> read_and_check(const RecipeOptions &options) {
  TRAINHOST_TRY(CheckedRecipe checked, check_recipe(options.file, options.settings));
  const PluginDeadline deadline = watch_plugins(checked.recipe.parallel);
  TRAINHOST_CHECK(check_settings(checked));
  return checked;
}

Result<> check(const RecipeOptions &options, std::ostream &out) {
  TRAINHOST_TRY(const CheckedRecipe checked, read_and_check(options));
  const TokenAxis axis(checked.recipe);
  out << resolved_toml(checked.recipe) << "\n";
  for (const BatchSpan &span : axis.batches()) {
    const auto &[phase, sequences, sequence_length, at_a_time] = span.shape;
    out << fmt::format("# phase {}: steps {} to {}, tokens {} to {}, {} sequences of {} tokens a step, {} at a time\n",
                       checked.recipe.phases[phase].name, span.first_step, span.end_step, span.first_token,
                       span.first_token + (span.end_step - span.first_step) * span.shape.tokens(), sequences, sequence_length, at_a_time);
  }
  for (const SettledMix &mix : checked.settled_mixes) {
    out << "# " << mix.text << "\n";
    if (mix.outside) log_warning(mix.text);
  }
  return {};
}

Result<> prepare(const RecipeOptions &options, std::ostream &out) {
  TRAINHOST_TRY(const CheckedRecipe checked, check_recipe(options.file, options.settings));
  const PluginDeadline deadline = watch_plugins(checked.recipe.parallel);
  const auto console = open_console();
  const PluginEvents events{.metric = {},
                            .progress = [&](std::string_view what, uint64_t done, uint64_t total) { console->progress(what, done, total); },
                            .cancelled = &stop_signal()};
  const TokenAxis axis(checked.recipe);
  TRAINHOST_TRY(const auto corpus, Corpus::assemble(checked, axis, events));
  TRAINHOST_TRY(const auto epochs, planned_epochs(axis, corpus->data(), corpus->stream()));
  out << fmt::format("{:<20} {:>10} {:>12} {:>14} {:>10} {:>12} {:>10}\n", "source", "documents", "tokens", "bytes/token", "held out",
                     "tokens", "epochs");
  for (size_t i = 0; i < epochs.size(); ++i) {
    const auto &[name, training, held_out] = corpus->data().sources[i];
    const double bytes_per_token =
        training->tokens() > 0 ? static_cast<double>(training->bytes_of_text()) / static_cast<double>(training->tokens()) : 0;
    out << fmt::format("{:<20} {:>10} {:>12} {:>14.3f} {:>10} {:>12} {:>10.2f}\n", name, training->documents(), training->tokens(),
                       bytes_per_token, held_out->documents(), held_out->tokens(), epochs[i].epochs);
  }
  out.flush();
  for (const std::string &warning : repetition_warnings(checked.recipe, epochs)) log_warning(warning);
  return {};
}

Result<> evaluate(const RunOptions &options, bool layers, std::ostream &out) {
  const PluginDeadline deadline = watch_plugins();
  const PluginEvents events{.metric = {}, .progress = {}, .cancelled = &stop_signal()};
  TRAINHOST_TRY(const auto trained, TrainedModel::load(options.directory, options.step, events));
  TRAINHOST_TRY(const auto corpus, Corpus::assemble(trained->checked(), trained->axis(), events));
  const std::vector<HeldOutSource> sources = corpus->held_out(trained->checked().recipe, trained->axis());
  EvaluationReport report{.step = trained->step(), .tokens = trained->axis().tokens_at_step(trained->step()), .rows = {}};
  std::vector<HeldOutLosses> losses;
  for (const HeldOutSource &source : sources) {
    TRAINHOST_TRY(losses.emplace_back(), held_out_losses(trained->runner(), source, corpus->bytes_per_id(), stop_signal()));
    report.rows.push_back(losses.back().row());
  }
  std::optional<LayerProbe> probe;
  if (layers) {
    TRAINHOST_TRY(probe, probe_layers(*trained, sources, losses, corpus->bytes_per_id(), options.json));
  }
  if (options.json) {
    nlohmann::ordered_json document = rows_json(report);
    if (probe) document["layers"] = layer_json(*probe);
    out << document.dump(2) << "\n";
    return {};
  }
  print_rows(report, out);
  if (probe) print_layers(*probe, out);
  return {};
}

Result<> generate(const RunOptions &options, const std::string &prompt, const SamplingSettings &settings, std::ostream &out) {
  const PluginDeadline deadline = watch_plugins();
  TRAINHOST_TRY(const auto trained, TrainedModel::load(options.directory, options.step, {}));
  const TextGenerator generator(trained->runner(), trained->tokenizer(), trained->axis().phases().front().sequence_length);
  if (options.json) {
    TRAINHOST_TRY(const std::string text, generator.generate(prompt, settings));
    out << nlohmann::ordered_json{{"step", trained->step()}, {"prompt", prompt}, {"continuation", text}}.dump(2) << "\n";
    return {};
  }
  out << prompt << std::flush;
  TRAINHOST_CHECK(generator.generate(prompt, settings, [&](std::string_view piece) { out << piece << std::flush; }));
  out << "\n";
  return {};
}

}  // namespace trainhost
