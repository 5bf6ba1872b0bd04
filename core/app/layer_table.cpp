#include "app/layer_table.h"

#include <cmath>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trainhost {
namespace {

constexpr const char *kRemark =
    "the cosine is telemetry, not a verdict: it misses blocks that do what others do, and what matters on easy text alone; the change of "
    "the loss tells what a block is worth";

std::string change_text(const PairedDifference &change) {
  return fmt::format("{:>+11.4f} {:>8}", change.mean, std::isnan(change.sigma) ? "-" : fmt::format("{:.4f}", change.sigma));
}

nlohmann::ordered_json change_json(const PairedDifference &change) { return {{"change", change.mean}, {"sigma", change.sigma}}; }

nlohmann::ordered_json text_json(const ProbedText &text) { return {{"windows", text.windows}, {"loss_per_token", text.loss_per_token}}; }

}  // namespace

void print_layers(const LayerProbe &probe, std::ostream &out) {
  out << "\nheld-out loss without one block less that of the whole model, in nats per token, and its standard error\n"
      << fmt::format("{:<20} {:>8} {:>20}", "block", "cosine", fmt::format("all {:.4f}", probe.all.loss_per_token));
  for (size_t i = 0; i < kDifficulties.size(); ++i) {
    out << fmt::format(" {:>20}", fmt::format("{} {:.4f}", kDifficulties[i], probe.by_difficulty[i].loss_per_token));
  }
  out << "\n";
  for (const ProbedBlock &block : probe.blocks) {
    out << fmt::format("{:<20} {:>8.4f} {}", block.name, block.cosine, change_text(block.change));
    for (const PairedDifference &change : block.change_by_difficulty) out << " " << change_text(change);
    out << "\n";
  }
  out << fmt::format("{} windows; easy, middle and hard: thirds of them by the whole model's loss, which heads each column\n",
                     probe.all.windows);
  if (!std::isnan(probe.rank_correlation)) {
    out << fmt::format("rank correlation of cosine and change (Spearman): {:+.2f} over {} blocks\n", probe.rank_correlation,
                       probe.blocks.size());
  }
  out << kRemark << "\n";
}

nlohmann::ordered_json layer_json(const LayerProbe &probe) {
  nlohmann::ordered_json document = text_json(probe.all);
  for (size_t i = 0; i < kDifficulties.size(); ++i)
    document["difficulty"][std::string(kDifficulties[i])] = text_json(probe.by_difficulty[i]);
  document["blocks"] = nlohmann::ordered_json::array();
  for (const ProbedBlock &block : probe.blocks) {
    nlohmann::ordered_json row{{"unit", block.unit}, {"name", block.name}, {"cosine", block.cosine}};
    row.update(change_json(block.change));
    for (size_t i = 0; i < kDifficulties.size(); ++i) row[std::string(kDifficulties[i])] = change_json(block.change_by_difficulty[i]);
    document["blocks"].push_back(std::move(row));
  }
  document["rank_correlation"] = probe.rank_correlation;
  document["remark"] = kRemark;
  return document;
}

}  // namespace trainhost
