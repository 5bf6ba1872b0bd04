// The mixer that gives each source its share of the samples; see share_tree.h for the order.
#include <algorithm>

#include "share_tree.h"
#include "trainhost/cpp/dataset_mixer.hpp"

namespace {

using trainhost::sdk::Config;
using trainhost::sdk::Failure;
using trainhost::sdk::Host;

class WeightedMixer {
 public:
  WeightedMixer(const Host &, const Config &config, std::span<const th_source_info> sources, uint64_t)
      : block_(static_cast<uint64_t>(config.integer("block"))), sources_(sources.size()) {
    if (sources_ <= block_) return;
    throw Failure(TH_INVALID, "block is " + std::to_string(block_) + " samples; expected at least one for each of " +
                                  std::to_string(sources_) + " sources");
  }

  void plan(const th_phase_mix &mix, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const {
    const weighted::ShareTree tree = shares(mix);
    for (size_t i = 0; i < source.size(); ++i) {
      const auto place = tree.place(first + i);
      source[i] = place.source;
      ordinal[i] = place.ordinal;
    }
  }

  void counts(const th_phase_mix &mix, uint64_t samples, uint64_t *per_source) const { shares(mix).counts(samples, per_source); }

 private:
  weighted::ShareTree shares(const th_phase_mix &mix) const {
    const std::span weights(mix.weights, sources_);
    if (std::none_of(weights.begin(), weights.end(), [](double weight) { return weight > 0; })) {
      throw Failure(TH_INVALID, "no source has a share in phase " + std::to_string(mix.phase));
    }
    return weighted::ShareTree(weighted::apportion(weights, block_));
  }

  uint64_t block_;
  size_t sources_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_DATASET_MIXER, trainhost::sdk::dataset_mixer_table<WeightedMixer>)
