#include "evaluate/layer_cosine.h"

#include <cmath>
#include <utility>

#include "collectives/agreement.h"
#include "device/device.h"

namespace trainhost {
namespace {

// For each row of two matrices of so many rows.
std::vector<double> row_products(std::span<const float> a, std::span<const float> b, size_t rows) {
  const size_t width = a.size() / rows;
  std::vector<FloatRange> blocks(rows);
  for (size_t row = 0; row < rows; ++row) blocks[row] = {row * width, (row + 1) * width};
  std::vector<double> products(rows);
  cpu_device().sum_products(a.data(), b.data(), blocks, products);
  return products;
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

LayerCosines::LayerCosines(const Model &model) : model_(model), sums_(model.units().size()) {}

ModelRunner::Watch LayerCosines::watch(const TokenBatch &batch) {
  before_.clear();
  return [this, weights = std::span(batch.loss_weights)](uint32_t unit, std::span<const float> output) {
    std::vector<double> squares = row_products(output, output, weights.size());
    if (before_.size() == output.size()) {
      const std::vector<double> products = row_products(before_, output, weights.size());
      for (size_t row = 0; row < weights.size(); ++row) {
        if (weights[row] != 0) sums_[unit] += weights[row] * products[row] / std::sqrt(squares_[row] * squares[row]);
      }
    }
    before_.assign(output.begin(), output.end());
    squares_ = std::move(squares);
  };
}

Result<std::vector<double>> LayerCosines::means(ProcessGroup &ranks, double tokens) const {
  TRAINHOST_TRY(const std::vector<double> sums, joined(ranks, sums_));
  std::vector<double> means;
  for (const uint32_t block : blocks_of(model_)) means.push_back(sums[block] / tokens);
  return means;
}

Result<std::vector<double>> layer_cosines(ModelRunner &runner, std::span<const TokenBatch> batches) {
  LayerCosines cosines(runner.model());
  double tokens = 0;
  for (const TokenBatch &batch : batches) {
    std::vector<float> losses(batch.tokens.size());
    TRAINHOST_CHECK(runner.token_losses(batch, losses, {.without = {}, .watch = cosines.watch(batch)}));
    tokens += batch.weight();
  }
  return cosines.means(*runner.spread().stages, tokens);
}

}  // namespace trainhost
