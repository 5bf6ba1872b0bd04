// How far each block of a model turns what passes through it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "data/batch.h"
#include "train/model_runner.h"

namespace trainhost {

// The model's units whose output is as wide as their input, in their order: all but the first, which reads tokens, the last, which gives
// the loss, and those that widen or narrow.
std::vector<uint32_t> blocks_of(const Model &model);

// Of each of blocks_of(): the mean of cos(input, output) over the tokens that count in the loss, by their weights; 1 - it is ShortGPT's
// block influence (arXiv 2403.03853). NaN when no token counts, or a vector has no direction. Learned by watching forwards. One thread.
class LayerCosines {
 public:
  explicit LayerCosines(const Model &model);  // which outlives it

  // Of a forward of this batch, and adds to what was watched before. The batch and this object outlive it.
  ModelRunner::Watch watch(const TokenBatch &batch);
  // On all of these ranks, of which one has watched each unit; all get the same, to the last bit. tokens: the weight of the batches that
  // were watched. Errors: of the ranks' exchange.
  Result<std::vector<double>> means(ProcessGroup &ranks, double tokens) const;

 private:
  const Model &model_;
  std::vector<double> sums_;     // by unit
  std::vector<float> before_;    // the output of the unit before
  std::vector<double> squares_;  // of each row of it
};

// Each rank runs the batches, the same on all ranks, and all get the same, to the last bit however many they are. Errors: the plugin's.
Result<std::vector<double>> layer_cosines(ModelRunner &runner, std::span<const TokenBatch> batches);

}  // namespace trainhost
