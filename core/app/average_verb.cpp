#include "app/average_verb.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/made_run.h"
#include "checkpoint/average.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_name.h"
#include "metrics/metrics.h"

namespace trainhost {
namespace {

bool chooses(const AverageQuery &query) { return query.last || !query.steps.empty() || query.from || query.until; }

Result<> check_choice(const AverageQuery &query) {
  const int ways = int{query.last.has_value()} + int{!query.steps.empty()} + int{query.from || query.until};
  if (ways > 1) return failure(ErrorKind::kUsage, "--last, --steps, and --from and --until are three ways to choose; give one of them");
  if (ways == 1 && query.rule.method == "polyak")
    return failure(ErrorKind::kUsage, "--method polyak averages all checkpoints of the run; --method mean averages the chosen ones");
  return {};
}

// The wanted ones of a run's checkpoints, oldest first.
Result<std::vector<CheckpointInfo>> choose(const AverageQuery &query, std::vector<CheckpointInfo> all) {
  if (query.last && *query.last < all.size()) all.erase(all.begin(), all.end() - *query.last);
  const auto is_there = [&](uint64_t step) { return std::ranges::find(all, step, &CheckpointInfo::step) != all.end(); };
  for (const uint64_t step : query.steps) {
    if (!is_there(step)) return failure(ErrorKind::kUsage, fmt::format("{}: has no checkpoint of step {}", query.sources[0], step));
  }
  std::erase_if(all, [&](const CheckpointInfo &info) {
    const bool listed = query.steps.empty() || std::ranges::find(query.steps, info.step) != query.steps.end();
    return !listed || info.step < query.from.value_or(0) || info.step > query.until.value_or(UINT64_MAX);
  });
  for (const CheckpointInfo &info : all) {
    if (!info.problem.empty()) return failure(ErrorKind::kData, info.problem);
  }
  return all;
}

Result<std::vector<CheckpointInfo>> checkpoints_of_run(const AverageQuery &query, FileSystem &files) {
  TRAINHOST_TRY(const auto directory, CheckpointDirectory::view(files, query.sources[0] + "/checkpoints"));
  TRAINHOST_TRY(auto all, directory.list());
  return choose(query, std::move(all));
}

// Those that are named one by one. Where the order matters it must be known.
Result<std::vector<CheckpointInfo>> named_checkpoints(const AverageQuery &query, FileSystem &files) {
  if (chooses(query)) return failure(ErrorKind::kUsage, "--last, --steps, --from and --until choose from a run directory; name one alone");
  std::vector<CheckpointInfo> named;
  for (const std::string &path : query.sources) {
    TRAINHOST_TRY(const CheckpointManifest manifest, read_manifest(files, path));
    named.push_back({.path = path, .step = manifest.step, .label = {}, .problem = {}});
  }
  std::ranges::stable_sort(named, {}, &CheckpointInfo::step);
  const auto twice = std::ranges::adjacent_find(named, {}, &CheckpointInfo::step);
  const bool ordered = query.rule.method == "ema" || query.rule.method == "wsm";
  if (twice != named.end() && ordered) {
    return failure(ErrorKind::kUsage, fmt::format("{} and {} are both of step {}; only --method mean averages checkpoints without an order",
                                                  twice->path, (twice + 1)->path, twice->step));
  }
  return named;
}

Result<std::vector<CheckpointInfo>> find_checkpoints(const AverageQuery &query, FileSystem &files) {
  TRAINHOST_CHECK(check_choice(query));
  const bool run = query.sources.size() == 1 && files.exists(query.sources[0] + "/checkpoints");
  TRAINHOST_TRY(auto found, run ? checkpoints_of_run(query, files) : named_checkpoints(query, files));
  if (found.size() >= 2) return found;
  return failure(
      ErrorKind::kUsage,
      fmt::format("{}: {} of its checkpoints {} chosen, and an average takes 2 or more; checkpoint.keep says how many a run keeps",
                  query.sources[0], found.size(), found.size() == 1 ? "is" : "are"));
}

void print_json(const AverageQuery &query, const CheckpointManifest &made, const std::string &checkpoint, std::ostream &out) {
  nlohmann::ordered_json parts = nlohmann::ordered_json::array();
  for (const auto &part : made.origin.parts)
    parts.push_back({{"checkpoint", part.checkpoint}, {"step", part.step}, {"weight", part.weight}});
  const nlohmann::ordered_json object{{"run", query.output},   {"checkpoint", checkpoint}, {"how", made.origin.how},   {"step", made.step},
                                      {"tokens", made.tokens}, {"bytes", made.bytes()},    {"parts", std::move(parts)}};
  out << object.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

void print_table(const CheckpointManifest &made, const std::string &checkpoint, std::ostream &out) {
  out << fmt::format("{:>10}  {:>10}  checkpoint\n", "step", "weight");
  for (const auto &part : made.origin.parts) out << fmt::format("{:>10}  {:>10.6f}  {}\n", part.step, part.weight, part.checkpoint);
  out << fmt::format("{}: {}, with the optimizer's states of step {}\n", checkpoint, made.origin.how, made.step);
}

}  // namespace

Result<> average(const AverageQuery &query, FileSystem &files, std::ostream &out) {
  TRAINHOST_TRY(const auto chosen, find_checkpoints(query, files));
  TRAINHOST_TRY(const auto weights, averaging_weights(query.rule, chosen.size()));
  TRAINHOST_TRY(const std::string run, run_of(files, chosen.back().path));
  TRAINHOST_TRY(const CheckedRecipe checked, recipe_for(run, {}, query.output));

  std::vector<WeightedCheckpoint> weighted;
  for (size_t i = 0; i < chosen.size(); ++i) weighted.push_back({chosen[i].path, weights[i]});
  const std::string how = fmt::format("{} of {} checkpoints", describe(query.rule), chosen.size());
  const auto console = query.json ? nullptr : open_console();  // it writes where the JSON goes
  const auto show = [&](uint64_t done, uint64_t total) {
    if (console) console->progress("writing " + query.output, done, total);
  };
  CheckpointManifest made;
  TRAINHOST_CHECK(make_run(files, query.output, checked.recipe, run, [&](const std::string &folder) -> Result<> {
    TRAINHOST_TRY(made, average_checkpoints(files, weighted, how, folder, show));
    return {};
  }));
  const std::string checkpoint = query.output + "/checkpoints/" + checkpoint_name(made.step);
  query.json ? print_json(query, made, checkpoint, out) : print_table(made, checkpoint, out);
  return {};
}

}  // namespace trainhost
