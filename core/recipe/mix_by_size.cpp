#include "recipe/mix_by_size.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "recipe/quotation.h"

namespace trainhost {
namespace {

constexpr double kFinest = 1e-9;  // far coarser than the last bits of a logarithm, far finer than any mix

double share_of(const SizedMix &row, const std::string &source) {
  const auto found = row.shares.find(source);
  return found == row.shares.end() ? 0 : found->second;
}

std::map<std::string, double> between(const SizedMix &below, const SizedMix &above, uint64_t parameters) {
  const double low = std::log(static_cast<double>(below.parameters)), high = std::log(static_cast<double>(above.parameters));
  const double moved = std::round((std::log(static_cast<double>(parameters)) - low) / (high - low) / kFinest) * kFinest;
  std::map<std::string, double> mix = below.shares;
  mix.insert(above.shares.begin(), above.shares.end());
  for (auto &[source, share] : mix) share = (1 - moved) * share_of(below, source) + moved * share_of(above, source);
  return mix;
}

std::string rows_text(const std::vector<SizedMix> &table, uint64_t parameters) {
  const uint64_t first = table.front().parameters, last = table.back().parameters;
  if (parameters < first) return fmt::format("which is below the first row's {}, whose mix it has", first);
  if (parameters > last) return fmt::format("which is above the last row's {}, whose mix it has", last);
  const auto row = std::ranges::lower_bound(table, parameters, {}, &SizedMix::parameters);
  if (row->parameters == parameters) return "which has a row of its own";
  return fmt::format("between the rows of {} and {}", std::prev(row)->parameters, row->parameters);
}

SettledMix settle(const std::string &owner, Overrides &overrides, uint64_t parameters) {
  const std::vector<SizedMix> &table = overrides.mix_by_size;
  overrides.mix = mix_at_size(table, parameters);
  std::string shares;
  for (const auto &[source, share] : *overrides.mix) shares += fmt::format("{}{} {:.4f}", shares.empty() ? "" : ", ", source, share);
  SettledMix settled{
      .text = fmt::format("{}: mix for {} parameters without embeddings, {}: {}", owner, parameters, rows_text(table, parameters), shares),
      .outside = parameters < table.front().parameters || parameters > table.back().parameters};
  overrides.mix_by_size.clear();
  return settled;
}

}  // namespace

std::map<std::string, double> mix_at_size(const std::vector<SizedMix> &table, uint64_t parameters) {
  const auto above = std::ranges::lower_bound(table, parameters, {}, &SizedMix::parameters);
  if (above == table.end()) return table.back().shares;
  if (above == table.begin() || above->parameters == parameters) return above->shares;
  return between(*std::prev(above), *above, parameters);
}

bool has_mix_by_size(const Recipe &recipe) {
  const auto has = [](const auto &item) { return !item.overrides.mix_by_size.empty(); };
  return std::ranges::any_of(recipe.phases, has) || std::ranges::any_of(recipe.branches, has);
}

std::vector<SettledMix> settle_mixes(Recipe &recipe, uint64_t parameters) {
  std::vector<SettledMix> settled;
  const auto settle_all = [&](const char *kind, auto &items) {
    for (auto &item : items) {
      if (!item.overrides.mix_by_size.empty())
        settled.push_back(settle(fmt::format("{} {}", kind, quotation(item.name)), item.overrides, parameters));
    }
  };
  settle_all("phase", recipe.phases);
  settle_all("branch", recipe.branches);
  return settled;
}

}  // namespace trainhost
