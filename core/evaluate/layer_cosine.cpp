#include "evaluate/layer_cosine.h"

#include <algorithm>
#include <cmath>

namespace trainhost {
namespace {

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// Over the tokens of a batch, rows of two matrices.
double weighted_cosines(std::span<const float> weights, std::span<const float> before, std::span<const float> after) {
  const size_t width = after.size() / weights.size();
  double sum = 0;
  for (size_t row = 0; row < weights.size(); ++row) {
    if (weights[row] == 0) continue;
    sum += weights[row] * cosine(before.subspan(row * width, width), after.subspan(row * width, width));
  }
  return sum;
}

// What the stages have of each unit, in one; all but one have 0, so nothing is rounded.
Result<> share(ProcessGroup &stages, std::vector<double> &of_units) {
  TRAINHOST_TRY(const std::vector<double> all, stages.gather(of_units));
  std::ranges::fill(of_units, 0);
  for (size_t i = 0; i < all.size(); ++i) of_units[i % of_units.size()] += all[i];
  return {};
}

}  // namespace

std::vector<uint32_t> blocks_of(const Model &model) {
  const auto units = model.units();
  std::vector<uint32_t> blocks;
  for (uint32_t unit = 1; unit + 1 < units.size(); ++unit) {
    if (units[unit].output_width == units[unit - 1].output_width) blocks.push_back(unit);
  }
  return blocks;
}

Result<std::vector<double>> layer_cosines(ModelRunner &runner, std::span<const TokenBatch> batches) {
  const auto units = runner.model().units();
  std::vector<double> cosines(units.size());
  double tokens = 0;
  for (const TokenBatch &batch : batches) {
    std::vector<float> before, losses(batch.tokens.size());
    const auto compare = [&](uint32_t unit, std::span<const float> output) {
      if (before.size() == output.size()) cosines[unit] += weighted_cosines(batch.loss_weights, before, output);
      before.assign(output.begin(), output.end());
    };
    TRAINHOST_CHECK(runner.token_losses(batch, losses, {.without = {}, .watch = compare}));
    for (const float weight : batch.loss_weights) tokens += weight;
  }
  TRAINHOST_CHECK(share(*runner.spread().stages, cosines));
  std::vector<double> of_blocks;
  for (const uint32_t block : blocks_of(runner.model())) of_blocks.push_back(cosines[block] / tokens);
  return of_blocks;
}

}  // namespace trainhost
