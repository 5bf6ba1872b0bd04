#include "app/strengthen_verb.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/batch_trade.h"
#include "app/compared_run.h"
#include "app/made_run.h"
#include "app/micro_anneal.h"
#include "app/run_history.h"
#include "app/stop_signal.h"
#include "evaluate/weak_source.h"
#include "recipe/quotation.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

using Json = nlohmann::ordered_json;
using Mix = std::map<std::string, double>;

constexpr char kPresent[] = "present", kProposed[] = "proposed";

struct Trial {
  AnnealStart start;
  uint64_t tokens = 0;  // of each decay
  LossPanel targets;
  std::vector<LossPanel> present;
  Mix present_mix;
  std::optional<std::string> weak;
  Mix proposed_mix;  // and the verdict: when there is a weak source
  std::optional<MixVerdict> verdict;
};

Result<Amount> length_of(const StrengthenQuery &query) {
  const auto length = parse_amount(query.length);
  if (length && length->value > 0) return *length;
  return failure(ErrorKind::kUsage, "--length: " + (length ? "expected more than 0, found " + quotation(query.length) : length.error()));
}

Result<> check_query(const StrengthenQuery &query) {
  if (query.seeds < 2)
    return failure(ErrorKind::kUsage, fmt::format("--seeds is {}, expected 2 or more: one run says nothing of the spread", query.seeds));
  if (!(query.share > 0 && query.share < 1))
    return failure(ErrorKind::kUsage, fmt::format("--share is {}, expected a number above 0 and below 1", query.share));
  if (query.reference.empty() && query.targets.empty())
    return failure(ErrorKind::kUsage, "weak is what is above a target: give --reference RUN_DIRECTORY or --target SOURCE=LOSS");
  return {};
}

Result<LossPanel> reference_losses(const std::string &directory, FileSystem &files) {
  TRAINHOST_TRY(const RunLog log, read_run(directory, files));
  if (log.evaluations.empty()) return failure(ErrorKind::kUsage, directory + ": has measured no held-out loss that could be a target");
  LossPanel losses;
  for (const auto &row : log.evaluations.back().rows)
    if (std::isfinite(row.loss_per_byte)) losses[row.source] = row.loss_per_byte;
  return losses;
}

Result<LossPanel> targets_of(const StrengthenQuery &query, const Recipe &recipe, FileSystem &files) {
  LossPanel targets;
  if (!query.reference.empty()) {
    TRAINHOST_TRY(targets, reference_losses(query.reference, files));
  }
  const auto is_source = [&](const std::string &name) {
    return std::ranges::find(recipe.sources, name, &Source::name) != recipe.sources.end();
  };
  std::erase_if(targets, [&](const auto &target) { return !is_source(target.first); });
  for (const std::string &text : query.targets) {
    TRAINHOST_TRY(const LossTarget target, LossTarget::parse("--target", text));
    if (!is_source(target.source))
      return failure(ErrorKind::kUsage, fmt::format("--target names the source \"{}\", which {} does not have", target.source, query.run));
    targets[target.source] = target.loss;
  }
  if (!targets.empty()) return targets;
  return failure(ErrorKind::kUsage, fmt::format("{}: has no source of {}", query.reference, query.run));
}

// The decays of one mix, seed by seed.
Result<std::vector<LossPanel>> anneal(const std::string &name, const Recipe &recipe, const AnnealStart &start, const StrengthenQuery &query,
                                      const std::string &output, FileSystem &files, Console *console) {
  const std::string file = fmt::format("{}/{}.toml", output, name);
  TRAINHOST_CHECK(files.create_directories(output));
  TRAINHOST_CHECK(write_atomically(files, file, resolved_toml(recipe)));
  std::vector<LossPanel> panels;
  for (uint64_t seed = 1; seed <= query.seeds; ++seed) {
    const Contestant contestant{.name = name, .recipe = file, .settings = {}, .from = start.checkpoint};
    TRAINHOST_TRY(const ComparedRun run,
                  ComparedRun::plan(contestant, seed, fmt::format("{}/{}/seed-{}", output, name, seed), query.processes));
    TRAINHOST_TRY(const auto losses, run.finish(fmt::format("{} of {}", seed, query.seeds), stop_signal(), console));
    panels.push_back(losses.at(name));
    if (panels.back().size() != panels.front().size()) return failure(ErrorKind::kData, name + ": its seeds measured different sources");
  }
  return panels;
}

LossPanel mean_of(const std::vector<LossPanel> &panels) {
  LossPanel mean;
  for (const LossPanel &panel : panels)
    for (const auto &[source, loss] : panel) mean[source] += loss / static_cast<double>(panels.size());
  return mean;
}

Result<Trial> try_mixes(const StrengthenQuery &query, FileSystem &files, Console *console) {
  TRAINHOST_CHECK(check_query(query));
  TRAINHOST_TRY(const Amount length, length_of(query));
  TRAINHOST_TRY(const RunLog log, read_run(query.run, files));
  const std::string output = std::filesystem::absolute(query.output).lexically_normal().string();
  TRAINHOST_TRY(const CheckedRecipe checked, recipe_for(query.run, query.settings, output));
  Trial trial;
  TRAINHOST_TRY(trial.targets, targets_of(query, checked.recipe, files));
  TRAINHOST_TRY(trial.start, anneal_start(std::filesystem::absolute(query.run).lexically_normal().string(), log, query.step, files));
  const Recipe recipe = micro_anneal(checked.recipe, trial.start, length);
  trial.tokens = recipe.run.tokens - trial.start.tokens;
  trial.present_mix = last_mix(recipe);
  TRAINHOST_TRY(trial.present, anneal(kPresent, recipe, trial.start, query, output, files, console));
  trial.weak = weakest_source(mean_of(trial.present), trial.targets);
  if (!trial.weak) return trial;
  trial.proposed_mix = strengthened(trial.present_mix, *trial.weak, query.share);
  TRAINHOST_TRY(const auto proposed,
                anneal(kProposed, with_last_mix(recipe, trial.proposed_mix), trial.start, query, output, files, console));
  trial.verdict = judge_mix(*trial.weak, trial.present, proposed);
  return trial;
}

// As in a recipe, with shares of so many digits that they sum to 1 closely enough.
std::string mix_line(const Mix &mix) {
  std::string line;
  for (const auto &[source, share] : mix) {
    if (share > 0) line += fmt::format("{}{} = {:.4g}", line.empty() ? "" : ", ", toml_key(source), share);
  }
  return "mix = { " + line + " }";
}

size_t width_of(const LossPanel &panel) {
  size_t width = std::string_view("source").size();
  for (const auto &[source, loss] : panel) width = std::max(width, source.size());
  return width;
}

void print_weakness(const StrengthenQuery &query, const Trial &trial, std::ostream &out) {
  out << fmt::format("after decays of {} tokens from step {}, learning rate {:.4g} to 0; {} seeds; held-out loss in nats per byte\n\n",
                     trial.tokens, trial.start.step, trial.start.learning_rate, query.seeds);
  const LossPanel mean = mean_of(trial.present);
  const size_t width = width_of(mean);
  out << fmt::format("{:<{}}  {:>10}  {:>10}  {:>10}\n", "source", width, "loss", "target", "above it");
  for (const auto &[source, loss] : mean) {
    out << fmt::format("{:<{}}  {:>10.5f}", source, width, loss);
    const auto target = trial.targets.find(source);
    if (target != trial.targets.end()) out << fmt::format("  {:>10.5f}  {:>+10.5f}", target->second, loss - target->second);
    out << (source == trial.weak ? "  weakest\n" : "\n");
  }
}

void print_effects(const Trial &trial, std::ostream &out) {
  const size_t width = width_of(trial.present.front());
  out << fmt::format("\n{:<{}}  {:>8}  {:>8}  {:>10}  {:>10}  {:>10}  {:>8}\n", "source", width, "share", "proposed", "loss", "proposed",
                     "change", "p");
  for (const MixEffect &effect : trial.verdict->effects) {
    const auto share = [&](const Mix &mix) { return mix.contains(effect.source) ? mix.at(effect.source) : 0; };
    out << fmt::format("{:<{}}  {:>8.4f}  {:>8.4f}  {:>10.5f}  {:>10.5f}  {:>+10.5f}", effect.source, width, share(trial.present_mix),
                       share(trial.proposed_mix), effect.present.mean, effect.proposed.mean, effect.change());
    out << (effect.test ? fmt::format("  {:>8.4f}\n", effect.test->p) : "\n");
  }
}

std::string reason(const MixVerdict &verdict, size_t seeds) {
  const std::string better = fmt::format("lower in {} of {} seeds", verdict.seeds_better, seeds);
  if (!verdict.significant) return better + ", which may be chance";
  if (!(verdict.gain > 0)) return better;
  return fmt::format("{}, gains {:.5f}, and the other sources {} {:.5f} together", better, verdict.gain, verdict.cost > 0 ? "lose" : "gain",
                     std::abs(verdict.cost));
}

void print_verdict(const StrengthenQuery &query, const Trial &trial, std::ostream &out) {
  if (!trial.weak) {
    out << "\nno source is above its target: nothing to strengthen\n";
    return;
  }
  print_effects(trial, out);
  const MixVerdict &verdict = *trial.verdict;
  out << fmt::format("\n{}: {} is {}\n", verdict.accepted() ? "accepted" : "refused", *trial.weak, reason(verdict, query.seeds));
  if (!verdict.accepted()) return;
  out << fmt::format("in the recipe, for the phase or [[branch]] from {} on:\n{}\n",
                     trial.start.label.empty() ? fmt::format("step {}", trial.start.step) : quotation(trial.start.label),
                     mix_line(trial.proposed_mix));
}

// Numbers that are not finite become null when they are written.
Json effects_json(const MixVerdict &verdict) {
  Json effects = Json::object();
  for (const MixEffect &effect : verdict.effects) {
    effects[effect.source] = {{"present", effect.present.mean},
                              {"proposed", effect.proposed.mean},
                              {"change", effect.change()},
                              {"p", effect.test ? Json(effect.test->p) : Json(nullptr)}};
  }
  return effects;
}

void print_json(const StrengthenQuery &query, const Trial &trial, std::ostream &out) {
  Json sources = Json::object();
  for (const auto &[source, loss] : mean_of(trial.present)) {
    const auto target = trial.targets.find(source);
    sources[source] = {{"loss", loss}, {"target", target == trial.targets.end() ? Json(nullptr) : Json(target->second)}};
  }
  Json object{{"checkpoint", trial.start.checkpoint},
              {"step", trial.start.step},
              {"learning_rate", trial.start.learning_rate},
              {"tokens", trial.tokens},
              {"seeds", query.seeds},
              {"measure", "loss_per_byte"},
              {"sources", std::move(sources)},
              {"present_mix", trial.present_mix},
              {"weak", trial.weak ? Json(*trial.weak) : Json(nullptr)}};
  if (trial.weak) {
    object["proposed_mix"] = trial.proposed_mix;
    object["effects"] = effects_json(*trial.verdict);
    object["gain"] = trial.verdict->gain;
    object["cost"] = trial.verdict->cost;
    object["seeds_better"] = trial.verdict->seeds_better;
    object["significant"] = trial.verdict->significant;
    object["accepted"] = trial.verdict->accepted();
  }
  out << object.dump(2) << "\n";
}

}  // namespace

Result<> strengthen(const StrengthenQuery &query, FileSystem &files, std::ostream &out) {
  stop_signal();                                               // from here on a signal does not kill
  const auto console = query.json ? nullptr : open_console();  // it writes where the JSON goes
  TRAINHOST_TRY(const Trial trial, try_mixes(query, files, console.get()));
  if (query.json) {
    print_json(query, trial, out);
  } else {
    print_weakness(query, trial, out);
    print_verdict(query, trial, out);
  }
  return {};
}

}  // namespace trainhost
