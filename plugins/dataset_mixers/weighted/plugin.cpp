// The mixer that gives each source its share of the samples; see share_tree.h for the order.
#include "trainhost/cpp/dataset_mixer.hpp"
#include "weighted_order.h"

namespace {

using trainhost::sdk::Config;
using trainhost::sdk::Host;

class WeightedMixer : public weighted::WeightedOrder {
 public:
  WeightedMixer(const Host &, const Config &config, std::span<const th_source_info> sources, uint64_t)
      : WeightedOrder(static_cast<uint64_t>(config.integer("block")), sources.size()) {}
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_DATASET_MIXER, trainhost::sdk::dataset_mixer_table<WeightedMixer>)
