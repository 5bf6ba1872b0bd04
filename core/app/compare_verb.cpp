#include "app/compare_verb.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <nlohmann/json.hpp>

#include "app/batch_recovery.h"
#include "app/batch_trade.h"
#include "app/compared_run.h"
#include "app/stop_signal.h"
#include "evaluate/welch_test.h"
#include "metrics/metrics.h"

namespace trainhost {
namespace {

// "cosine: schedule.plugin=cosine; schedule.floor=0.1"
Result<Contestant> variant_of(const std::string &recipe, const std::string &text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos || colon > text.find('='))
    return failure(ErrorKind::kUsage, fmt::format("--variant is \"{}\", expected NAME: KEY=VALUE; KEY=VALUE", text));
  Contestant variant{.name = boost::algorithm::trim_copy(text.substr(0, colon)), .recipe = recipe, .settings = {}};
  boost::algorithm::split(variant.settings, text.substr(colon + 1), [](char c) { return c == ';'; });
  for (std::string &setting : variant.settings) boost::algorithm::trim(setting);
  return variant;
}

Result<> check_names(const std::vector<Contestant> &contestants) {
  std::set<std::string_view> names;
  for (const Contestant &contestant : contestants) {
    const std::string &name = contestant.name;
    const bool fit = !name.empty() && name.front() != '.' &&
                     std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; });
    if (!fit) {
      return failure(ErrorKind::kUsage, fmt::format("\"{}\" names a folder: expected letters, digits, \".\", \"_\" and \"-\"", name));
    }
    if (!names.insert(name).second) return failure(ErrorKind::kUsage, fmt::format("\"{}\" names two of what is compared", name));
  }
  return {};
}

Result<std::vector<Contestant>> contestants_of(const CompareQuery &query) {
  if (query.seeds < 2)
    return failure(ErrorKind::kUsage, fmt::format("--seeds is {}, expected 2 or more: one run says nothing of the spread", query.seeds));
  if (!(query.tolerance >= 0 && std::isfinite(query.tolerance)))
    return failure(ErrorKind::kUsage, fmt::format("--tolerance is {}, expected nats per byte, 0 or more", query.tolerance));
  if (!query.variants.empty() && query.recipes.size() != 1)
    return failure(ErrorKind::kUsage, fmt::format("--variant changes one recipe, and {} are given", query.recipes.size()));
  std::vector<Contestant> contestants;
  for (const std::string &recipe : query.recipes)
    contestants.push_back({.name = std::filesystem::path(recipe).stem().string(), .recipe = recipe, .settings = {}});
  for (const std::string &variant : query.variants) {
    TRAINHOST_TRY(contestants.emplace_back(), variant_of(query.recipes.front(), variant));
  }
  for (Contestant &contestant : contestants)
    contestant.settings.insert(contestant.settings.begin(), query.settings.begin(), query.settings.end());
  TRAINHOST_CHECK(check_names(contestants));
  return contestants;
}

// Seed by seed, so that what there is when it is cut off is of all.
Result<std::vector<ComparedRun>> plan_runs(const CompareQuery &query, const std::string &output) {
  TRAINHOST_TRY(const auto contestants, contestants_of(query));
  std::vector<ComparedRun> runs;
  for (uint64_t seed = 1; seed <= query.seeds; ++seed) {
    for (const Contestant &contestant : contestants) {
      TRAINHOST_TRY(runs.emplace_back(),
                    ComparedRun::plan(contestant, seed, fmt::format("{}/{}/seed-{}", output, contestant.name, seed), query.processes));
      const ComparedRun &first = runs.front(), &run = runs.back();
      if (run.total_tokens() == first.total_tokens()) continue;
      return failure(ErrorKind::kRecipe, fmt::format("{} trains on {} tokens and {} on {}; only runs of equal tokens can be compared",
                                                     first.contestant().name, first.total_tokens(), contestant.name, run.total_tokens()));
    }
  }
  if (contestants.size() == 1 && runs.front().names().size() == 1)
    return failure(ErrorKind::kUsage,
                   query.recipes.front() + " alone, without a branch, has nothing to be compared with; --variant changes it");
  return runs;
}

Result<std::optional<LossTarget>> target_of(const CompareQuery &query, const std::vector<ComparedRun> &runs) {
  if (query.until.empty()) return std::nullopt;
  TRAINHOST_TRY(LossTarget target, LossTarget::parse("--until", query.until));
  for (const ComparedRun &run : runs) {
    if (!run.has_source(target.source))
      return failure(ErrorKind::kUsage,
                     fmt::format("--until names the source \"{}\", which {} does not have", target.source, run.contestant().name));
  }
  return target;
}

// The losses of each name, one for each seed, by source.
using Results = std::map<std::string, std::map<std::string, std::vector<double>>>;

Result<Results> run_all(const std::vector<ComparedRun> &runs, Console *console) {
  Results results;
  std::optional<std::set<std::string>> sources;
  for (size_t i = 0; i < runs.size(); ++i) {
    TRAINHOST_TRY(const auto finished, runs[i].finish(fmt::format("{} of {}", i + 1, runs.size()), stop_signal(), console));
    for (const auto &[name, losses] : finished) {
      std::set<std::string> measured;
      for (const auto &[source, loss] : losses) {
        results[source][name].push_back(loss);
        measured.insert(source);
      }
      if (!sources) sources = measured;
      if (*sources != measured) return failure(ErrorKind::kRecipe, name + " measures other sources than " + runs.front().contestant().name);
    }
  }
  return results;
}

// What the branches with other batches come to, recipe by recipe.
std::vector<BatchRecovery> recoveries_of(const std::vector<ComparedRun> &runs, const Results &results, double tolerance) {
  std::vector<BatchRecovery> recoveries;
  for (const ComparedRun &run : runs) {
    if (run.seed() != runs.front().seed()) break;
    for (const BatchBranches &branches : batch_branches(run.recipe()))
      recoveries.push_back(recovery_of(run.contestant().name, branches, results, tolerance));
  }
  return recoveries;
}

// What is compared, in order.
std::vector<std::string> names_of(const std::vector<ComparedRun> &runs) {
  std::vector<std::string> names;
  for (const ComparedRun &run : runs) {
    if (run.seed() != runs.front().seed()) break;
    for (std::string &name : run.names()) names.push_back(std::move(name));
  }
  return names;
}

struct Row {
  std::string name;
  std::vector<double> losses;
  SampleSummary summary;
  std::optional<WelchTest> test;  // against the first row

  bool significant() const { return test && test->p < kSignificant; }
};

std::vector<Row> rows_of(const std::map<std::string, std::vector<double>> &losses, const std::vector<std::string> &names) {
  std::vector<Row> rows;
  for (const std::string &name : names) {
    Row row{.name = name, .losses = losses.at(name), .summary = summarise(losses.at(name)), .test = {}};
    if (!rows.empty()) row.test = welch_test(rows.front().summary, row.summary);
    rows.push_back(std::move(row));
  }
  return rows;
}

void print_source(const std::string &source, const std::vector<Row> &rows, std::ostream &out) {
  size_t width = source.size();
  for (const Row &row : rows) width = std::max(width, row.name.size());
  out << fmt::format("{:<{}}  {:>10}  {:>10}  {:>10}  {:>8}\n", source, width, "mean", "deviation", "difference", "p");
  for (const Row &row : rows) {
    out << fmt::format("{:<{}}  {:>10.5f}  {:>10.5f}", row.name, width, row.summary.mean, row.summary.deviation);
    if (&row != &rows.front()) out << fmt::format("  {:>+10.5f}", row.summary.mean - rows.front().summary.mean);
    if (row.test) out << fmt::format("  {:>8.4f}{}", row.test->p, row.significant() ? " *" : "");
    out << "\n";
  }
  out << "\n";
}

void print_table(const CompareQuery &query, uint64_t tokens, const Results &results, const std::vector<std::string> &names,
                 std::ostream &out) {
  out << fmt::format("final held-out loss in nats per byte, after {} tokens; {} seeds each\n\n", tokens, query.seeds);
  size_t tests = 0, significant = 0;
  for (const auto &[source, losses] : results) {
    const auto rows = rows_of(losses, names);
    print_source(source, rows, out);
    tests += rows.size() - 1;
    significant += static_cast<size_t>(std::ranges::count_if(rows, &Row::significant));
  }
  out << fmt::format("* p below {}: {} of {} differ from {} (Welch's t-test, two-sided, not corrected for their number)\n", kSignificant,
                     significant, tests, names.front());
}

nlohmann::ordered_json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

void print_json(const CompareQuery &query, uint64_t tokens, const Results &results, const std::vector<std::string> &names,
                const std::vector<BatchRecovery> &recoveries, const std::optional<BatchTrade> &trade, std::ostream &out) {
  nlohmann::ordered_json sources = nlohmann::ordered_json::object();
  for (const auto &[source, losses] : results) {
    for (const Row &row : rows_of(losses, names)) {
      nlohmann::ordered_json values = nlohmann::ordered_json::array();
      for (const double loss : row.losses) values.push_back(number_or_null(loss));
      nlohmann::ordered_json entry{{"name", row.name},
                                   {"losses", std::move(values)},
                                   {"mean", number_or_null(row.summary.mean)},
                                   {"deviation", number_or_null(row.summary.deviation)}};
      if (row.test) {
        entry["t"] = row.test->t;
        entry["degrees"] = row.test->degrees;
        entry["p"] = row.test->p;
        entry["significant"] = row.significant();
      }
      sources[source].push_back(std::move(entry));
    }
  }
  nlohmann::ordered_json object{{"tokens", tokens}, {"seeds", query.seeds}, {"measure", "loss_per_byte"}, {"sources", std::move(sources)}};
  for (const BatchRecovery &recovery : recoveries) object["recovery"].push_back(to_json(recovery));
  if (trade) object["until"] = to_json(*trade);
  out << object.dump(2) << "\n";
}

}  // namespace

Result<> compare(const CompareQuery &query, std::ostream &out) {
  stop_signal();  // from here on a signal does not kill
  const std::string output = std::filesystem::absolute(query.output).lexically_normal().string();
  TRAINHOST_TRY(const auto runs, plan_runs(query, output));
  TRAINHOST_TRY(const auto target, target_of(query, runs));
  const auto console = query.json ? nullptr : open_console();  // it writes where the JSON goes
  TRAINHOST_TRY(const Results results, run_all(runs, console.get()));
  const auto names = names_of(runs);
  const uint64_t tokens = runs.front().total_tokens();
  const auto recoveries = recoveries_of(runs, results, query.tolerance);
  std::optional<BatchTrade> trade;
  if (target) trade = trade_of_batches(runs, *target);
  if (query.json) {
    print_json(query, tokens, results, names, recoveries, trade, out);
  } else {
    print_table(query, tokens, results, names, out);
    for (const BatchRecovery &recovery : recoveries) print(recovery, out);
    if (trade) print(*trade, out);
  }
  return {};
}

}  // namespace trainhost
