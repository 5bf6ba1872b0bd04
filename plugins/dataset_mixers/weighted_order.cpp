#include "weighted_order.h"

#include <algorithm>
#include <string>

#include "trainhost/cpp/plugin.hpp"

namespace weighted {

using trainhost::sdk::Failure;

WeightedOrder::WeightedOrder(uint64_t block, size_t sources) : block_(block), sources_(sources) {
  if (sources <= block) return;
  throw Failure(TH_INVALID, "block is " + std::to_string(block) + " samples; expected at least one for each of " + std::to_string(sources) +
                                " sources");
}

void WeightedOrder::plan(const th_phase_mix &mix, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const {
  const ShareTree tree = shares(mix);
  for (size_t i = 0; i < source.size(); ++i) {
    const auto place = tree.place(first + i);
    source[i] = place.source;
    ordinal[i] = place.ordinal;
  }
}

ShareTree WeightedOrder::shares(const th_phase_mix &mix) const {
  const std::span weights(mix.weights, sources_);
  if (std::none_of(weights.begin(), weights.end(), [](double weight) { return weight > 0; })) {
    throw Failure(TH_INVALID, "no source has a share in phase " + std::to_string(mix.phase));
  }
  return ShareTree(apportion(weights, block_));
}

}  // namespace weighted
