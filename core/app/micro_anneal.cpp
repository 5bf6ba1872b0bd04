#include "app/micro_anneal.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "checkpoint/checkpoint.h"
#include "data/mix_pieces.h"
#include "recipe/token_axis.h"

namespace trainhost {
namespace {

constexpr double kBeforeDecay = 0.5;  // of the highest learning rate

double highest_learning_rate(const RunLog &log) {
  double highest = 0;
  for (const StepReport &step : log.steps) highest = std::max(highest, step.learning_rate);
  return highest;
}

Result<AnnealStart> start_at(const CheckpointInfo &info, const RunLog &log) {
  if (!info.problem.empty()) return failure(ErrorKind::kData, info.problem);
  const auto done = std::ranges::find(log.steps, info.step, &StepReport::step);
  if (done == log.steps.end()) {
    return failure(ErrorKind::kData,
                   fmt::format("{}: step {} is not in the run's log/metrics.jsonl, which says its learning rate", info.path, info.step));
  }
  return AnnealStart{.checkpoint = info.path,
                     .label = info.label,
                     .phase = done->phase,
                     .step = info.step,
                     .tokens = info.tokens,
                     .batch_tokens = done->batch_tokens,
                     .learning_rate = done->learning_rate};
}

Amount tokens(uint64_t count) {
  return {.value = static_cast<double>(count), .unit = Amount::Unit::kTokens, .text = fmt::format("{} tokens", count), .position = {}};
}

uint64_t length_in_tokens(const Amount &length, const Recipe &run, const AnnealStart &start) {
  if (length.unit == Amount::Unit::kTokens) return static_cast<uint64_t>(length.value);
  const uint64_t unit = length.unit == Amount::Unit::kSteps ? start.batch_tokens : run.run.tokens;
  return static_cast<uint64_t>(std::ceil(length.value * static_cast<double>(unit)));
}

// The phases so far and one more; gives the last one's name of those so far.
std::string cut_phases(const AnnealStart &start, std::vector<Phase> &phases) {
  const auto named = std::ranges::find(phases, start.phase, &Phase::name);
  const auto at = named == phases.end() ? phases.size() - 1 : static_cast<size_t>(named - phases.begin());
  const bool ended = start.label == "end of " + phases[at].name;
  const bool others_follow = at + 1 < phases.size();
  Phase next = ended && others_follow ? phases[at + 1] : phases[at];
  next.name = fmt::format("micro-annealing from step {}", start.step);  // unlike that of a trial of a trial
  next.until.reset();
  phases.resize(at + 1);
  if (!ended || !others_follow) phases[at].until = tokens(start.tokens);
  phases.push_back(std::move(next));
  return phases[at].name;
}

// Down to 0 at the end of the run, whatever the phases.
PluginChoice line_to_zero(const AnnealStart &start) {
  PluginChoice schedule{.plugin = "expression", .position = {}, .parameters = {}};
  schedule.parameters["lr"] = {.value = fmt::format("peak_lr * (total_tokens - tokens) / (total_tokens - {})", start.tokens),
                               .position = {}};
  schedule.parameters["peak_lr"] = {.value = start.learning_rate, .position = {}};
  schedule.parameters["warmup"] = {.value = "0 steps", .position = {}};
  return schedule;
}

}  // namespace

Result<AnnealStart> anneal_start(const std::string &run_directory, const RunLog &log, std::optional<uint64_t> step, FileSystem &files) {
  const std::string folder = run_directory + "/checkpoints";
  TRAINHOST_TRY(const auto directory, CheckpointDirectory::view(files, folder));
  TRAINHOST_TRY(const auto all, directory.list());
  if (step) {
    const auto chosen = std::ranges::find(all, *step, &CheckpointInfo::step);
    if (chosen != all.end()) return start_at(*chosen, log);
    return failure(ErrorKind::kUsage, fmt::format("{}: has no checkpoint of step {}", folder, *step));
  }
  const double enough = kBeforeDecay * highest_learning_rate(log);
  for (auto info = all.rbegin(); info != all.rend(); ++info) {
    const auto start = start_at(*info, log);
    if (start && start->learning_rate > 0 && start->learning_rate >= enough) return start;
  }
  return failure(ErrorKind::kUsage,
                 fmt::format("{}: has no checkpoint from before the decay, where the learning rate is {} or more; keep one with "
                             "checkpoint.always_keep = [\"end of PHASE\"], or give --step",
                             folder, enough));
}

Recipe micro_anneal(const Recipe &run, const AnnealStart &start, const Amount &length) {
  Recipe recipe = run;
  recipe.branches.clear();
  Branch branch{.name = "micro-annealing",
                .from = {},
                .until = tokens(start.tokens + length_in_tokens(length, run, start)),
                .seed = {},
                .overrides = {},
                .position = {}};
  branch.from = "end of " + cut_phases(start, recipe.phases);
  Phase &last = recipe.phases.back();
  last.overrides.mix_over.reset();
  if (batch_of(recipe, recipe.phases.size() - 1).rule != "constant") last.overrides.batch = Batch::constant(start.batch_tokens);
  recipe.schedule = line_to_zero(start);
  for (Phase &phase : recipe.phases) phase.overrides.schedule.clear();
  recipe.checkpoint.keep = 1;
  recipe.checkpoint.always_keep.clear();
  recipe.sampling.prompts.clear();
  recipe = branch_recipe(recipe, branch);
  for (const char *key : {"name", "mix"}) recipe.given[fmt::format("phase.{}.{}", recipe.phases.size() - 1, key)];
  return with_last_mix(recipe, last_mix(recipe));
}

std::map<std::string, double> last_mix(const Recipe &recipe) {
  const std::vector<double> weights = mix_pieces(recipe, TokenAxis(recipe), recipe.phases.size() - 1).back().weights;
  std::map<std::string, double> mix;
  for (size_t i = 0; i < weights.size(); ++i) mix[recipe.sources[i].name] = weights[i];
  return mix;
}

Recipe with_last_mix(Recipe recipe, const std::map<std::string, double> &mix) {
  recipe.phases.back().overrides.mix = mix;
  return recipe;
}

}  // namespace trainhost
