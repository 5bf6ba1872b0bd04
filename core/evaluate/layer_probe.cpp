#include "evaluate/layer_probe.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include "evaluate/layer_cosine.h"
#include "evaluate/rank_correlation.h"

namespace trainhost {
namespace {

// The windows of all sources that have tokens that count.
struct Windows {
  std::vector<double> losses, tokens;

  explicit Windows(const std::vector<HeldOutLosses> &sources) {
    for (const HeldOutLosses &source : sources) {
      for (size_t i = 0; i < source.tokens.size(); ++i) {
        if (source.tokens[i] > 0) add(source.losses[i], source.tokens[i]);
      }
    }
  }
  Windows(const Windows &all, std::span<const size_t> chosen) {
    for (const size_t i : chosen) add(all.losses[i], all.tokens[i]);
  }

  size_t size() const { return tokens.size(); }
  ProbedText text() const {
    const double counted = std::accumulate(tokens.begin(), tokens.end(), 0.0);
    return {.windows = size(), .loss_per_token = std::accumulate(losses.begin(), losses.end(), 0.0) / counted};
  }

 private:
  void add(double loss, double count) {
    losses.push_back(loss);
    tokens.push_back(count);
  }
};

using Thirds = std::array<std::vector<size_t>, kDifficulties.size()>;

Thirds by_difficulty(const Windows &windows) {
  std::vector<size_t> order(windows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return windows.losses[i] / windows.tokens[i]; });
  Thirds thirds;
  for (size_t i = 0; i < order.size(); ++i) thirds[i * thirds.size() / order.size()].push_back(order[i]);
  return thirds;
}

PairedDifference change(const Windows &with, const Windows &without) { return paired_difference(with.losses, without.losses, with.tokens); }

Result<Windows> windows_without(uint32_t unit, ModelRunner &runner, const std::vector<HeldOutSource> &sources,
                                const std::vector<uint32_t> &bytes_per_id, const std::atomic<bool> &stop) {
  std::vector<HeldOutLosses> losses;
  for (const HeldOutSource &source : sources) {
    TRAINHOST_TRY(losses.emplace_back(), held_out_losses(runner, source, bytes_per_id, stop, {.without = unit, .watch = {}}));
  }
  return Windows(losses);
}

Result<std::vector<double>> cosines_of(ModelRunner &runner, const std::vector<HeldOutSource> &sources) {
  std::vector<TokenBatch> batches;
  for (const HeldOutSource &source : sources) batches.insert(batches.end(), source.batches.begin(), source.batches.end());
  return layer_cosines(runner, batches);
}

double correlation(const std::vector<ProbedBlock> &blocks) {
  std::vector<double> cosines, changes;
  for (const ProbedBlock &block : blocks) {
    cosines.push_back(block.cosine);
    changes.push_back(block.change.mean);
  }
  return rank_correlation(cosines, changes);
}

}  // namespace

Result<LayerProbe> probe_layers(ModelRunner &runner, const std::vector<HeldOutSource> &sources, const std::vector<HeldOutLosses> &whole,
                                const std::vector<uint32_t> &bytes_per_id, const std::atomic<bool> &stop, const ProbeProgress &progress) {
  const Model &model = runner.model();
  const std::vector<uint32_t> blocks = blocks_of(model);
  if (blocks.empty()) {
    return failure(ErrorKind::kUsage,
                   fmt::format("{}: none of its {} units can be left out: that takes one between the first and the last whose output is as "
                               "wide as its input",
                               describe(model.manifest()), model.units().size()));
  }
  const uint64_t parts = blocks.size() + 1;
  progress(0, parts);
  TRAINHOST_TRY(const std::vector<double> cosines, cosines_of(runner, sources));
  const Windows with(whole);
  const Thirds thirds = by_difficulty(with);
  LayerProbe probe{.all = with.text(), .by_difficulty = {}, .blocks = {}};
  for (size_t third = 0; third < thirds.size(); ++third) probe.by_difficulty[third] = Windows(with, thirds[third]).text();
  for (size_t i = 0; i < blocks.size(); ++i) {
    progress(i + 1, parts);
    TRAINHOST_TRY(const Windows without, windows_without(blocks[i], runner, sources, bytes_per_id, stop));
    const th_string name = model.units()[blocks[i]].name;
    ProbedBlock &block = probe.blocks.emplace_back(ProbedBlock{.unit = blocks[i],
                                                               .name = std::string(name.data, name.length),
                                                               .cosine = cosines[i],
                                                               .change = change(with, without),
                                                               .change_by_difficulty = {}});
    for (size_t third = 0; third < thirds.size(); ++third) {
      block.change_by_difficulty[third] = change(Windows(with, thirds[third]), Windows(without, thirds[third]));
    }
  }
  progress(parts, parts);
  probe.rank_correlation = correlation(probe.blocks);
  return probe;
}

}  // namespace trainhost
