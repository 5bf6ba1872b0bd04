#include "app/batch_recovery.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "evaluate/welch_test.h"
#include "recipe/quotation.h"

namespace trainhost {
namespace {

bool recovers(const TriedBatch &tried, double tolerance) { return tried.excess <= tolerance; }

// All batches that the phases from `first` on may have.
std::set<uint64_t> batches_from(const Recipe &recipe, size_t first) {
  std::set<uint64_t> batches;
  for (size_t phase = first; phase < recipe.phases.size(); ++phase)
    for (const uint64_t tokens : batch_of(recipe, phase).sizes()) batches.insert(tokens);
  return batches;
}

std::string why_left_out(const std::set<uint64_t> &own, const std::set<uint64_t> &of_run, const Overrides &overrides) {
  if (own.size() > 1) return fmt::format("has batches of {} to {} tokens", *own.begin(), *own.rbegin());
  if (of_run.size() > 1) return fmt::format("the run beside it has batches of {} to {} tokens", *of_run.begin(), *of_run.rbegin());
  const bool other_text = overrides.mix || overrides.mix_over || overrides.sequence_length || overrides.loss_on;
  return other_text ? "changes the text, too" : "";
}

BatchBranches &place_of(const std::string &from, std::vector<BatchBranches> &places) {
  const auto found = std::ranges::find(places, from, &BatchBranches::from);
  if (found != places.end()) return *found;
  return places.emplace_back(BatchBranches{.from = from, .tokens = 0, .branches = {}, .left_out = {}});
}

BatchRecovery::OfSource recovery_in(const std::string &source, const BatchRecovery &recovery,
                                    const std::map<std::string, std::vector<double>> &losses) {
  BatchRecovery::OfSource found{.source = source, .finite = true, .rows = {}, .batches = {}};
  const double own = summarise(losses.at(recovery.recipe)).mean;
  found.finite = std::isfinite(own);
  std::vector<TriedBatch> tried;
  for (const auto &[branch, tokens] : recovery.branches.branches) {
    const std::string name = recovery.recipe + "/" + branch;
    tried.push_back({.tokens = tokens, .excess = summarise(losses.at(name)).mean - own});
    found.rows.push_back({.name = name, .tried = tried.back(), .recovers = found.finite && recovers(tried.back(), recovery.tolerance)});
  }
  if (found.finite) found.batches = recovered_batches(tried, recovery.tolerance);
  return found;
}

std::string verdict(const BatchRecovery::OfSource &of_source) {
  if (!of_source.finite) return "the run's own loss is not finite, so there is nothing to come back to";
  const auto &[at_least, below, beyond] = of_source.batches;
  const std::string range = at_least && below ? fmt::format("between {} and {}", *at_least, *below)
                            : at_least        ? fmt::format("at least {}", *at_least)
                                              : fmt::format("below {}", below.value_or(0));
  return fmt::format("the critical batch there is {} tokens{}", range,
                     beyond ? "; a larger one recovers all the same, so more seeds may tell otherwise" : "");
}

nlohmann::ordered_json number_or_null(const auto &value, bool there) {
  return there ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

RecoveredBatches recovered_batches(std::span<const TriedBatch> tried, double tolerance) {
  std::map<uint64_t, bool> by_size;
  for (const TriedBatch &one : tried) by_size[one.tokens] |= recovers(one, tolerance);
  RecoveredBatches batches;
  for (const auto &[tokens, recovered] : by_size) {
    if (batches.below)
      batches.beyond |= recovered;
    else if (recovered)
      batches.at_least = tokens;
    else
      batches.below = tokens;
  }
  return batches;
}

std::vector<BatchBranches> batch_branches(const Recipe &recipe) {
  std::vector<BatchBranches> places;
  for (const Branch &branch : recipe.branches) {
    if (!branch.overrides.batch) continue;
    const size_t first = phase_ending_at(recipe, branch.from).value() + 1;
    const std::set<uint64_t> own = batches_from(branch_recipe(recipe, branch), first), of_run = batches_from(recipe, first);
    if (own == of_run && own.size() == 1) continue;
    BatchBranches &place = place_of(branch.from, places);
    if (of_run.size() == 1) place.tokens = *of_run.begin();
    const std::string why = why_left_out(own, of_run, branch.overrides);
    if (why.empty())
      place.branches.push_back({.name = branch.name, .tokens = *own.begin()});
    else
      place.left_out.push_back({.name = branch.name, .why = why});
  }
  for (BatchBranches &place : places) std::ranges::stable_sort(place.branches, {}, &BatchBranches::Branch::tokens);
  return places;
}

BatchRecovery recovery_of(const std::string &recipe, const BatchBranches &branches,
                          const std::map<std::string, std::map<std::string, std::vector<double>>> &losses, double tolerance) {
  BatchRecovery recovery{.recipe = recipe, .branches = branches, .tolerance = tolerance, .sources = {}};
  if (branches.branches.empty()) return recovery;
  for (const auto &[source, by_name] : losses) recovery.sources.push_back(recovery_in(source, recovery, by_name));
  return recovery;
}

void print(const BatchRecovery &recovery, std::ostream &out) {
  out << fmt::format("\nother batches from {} of {} on\n", quotation(recovery.branches.from), recovery.recipe);
  if (!recovery.sources.empty()) {
    out << fmt::format("the run's has {} tokens; a batch recovers that ends at most {} nats per byte above it\n", recovery.branches.tokens,
                       recovery.tolerance);
  }
  for (const auto &of_source : recovery.sources) {
    size_t width = of_source.source.size();
    for (const auto &row : of_source.rows) width = std::max(width, row.name.size());
    out << fmt::format("\n{:<{}}  {:>10}  {:>10}\n", of_source.source, width, "batch", "above run");
    for (const auto &[name, tried, recovered] : of_source.rows) {
      out << fmt::format("{:<{}}  {:>10}  {:>+10.5f}  {}\n", name, width, tried.tokens, tried.excess, recovered ? "recovers" : "does not");
    }
    out << verdict(of_source) << "\n";
  }
  for (const auto &[name, why] : recovery.branches.left_out) out << fmt::format("{}/{} is left out: it {}\n", recovery.recipe, name, why);
}

nlohmann::ordered_json to_json(const BatchRecovery &recovery) {
  using Json = nlohmann::ordered_json;
  Json sources = Json::object(), left_out = Json::array();
  for (const auto &of_source : recovery.sources) {
    Json rows = Json::array();
    for (const auto &[name, tried, recovered] : of_source.rows) {
      rows.push_back({{"name", name},
                      {"batch", tried.tokens},
                      {"excess", number_or_null(tried.excess, std::isfinite(tried.excess))},
                      {"recovers", recovered}});
    }
    const auto &[at_least, below, beyond] = of_source.batches;
    sources[of_source.source] = {{"rows", std::move(rows)},
                                 {"at_least", number_or_null(at_least.value_or(0), at_least.has_value())},
                                 {"below", number_or_null(below.value_or(0), below.has_value())},
                                 {"beyond", beyond}};
  }
  for (const auto &[name, why] : recovery.branches.left_out) left_out.push_back({{"name", recovery.recipe + "/" + name}, {"why", why}});
  return {{"name", recovery.recipe},
          {"from", recovery.branches.from},
          {"batch", number_or_null(recovery.branches.tokens, recovery.branches.tokens > 0)},
          {"tolerance", recovery.tolerance},
          {"sources", std::move(sources)},
          {"left_out", std::move(left_out)}};
}

}  // namespace trainhost
