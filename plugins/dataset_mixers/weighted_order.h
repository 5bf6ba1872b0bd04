// The order of samples of a mixer whose shares stand still in a phase, or in a round of one: its plan and its counts.
#pragma once

#include <cstdint>
#include <span>

#include "share_tree.h"
#include "trainhost/kinds/dataset_mixer.h"

namespace weighted {

class WeightedOrder {
 public:
  // Throws TH_INVALID when a block has not one sample for each source.
  WeightedOrder(uint64_t block, size_t sources);

  // See th_dataset_mixer_api. They throw TH_INVALID when no source has a share.
  void plan(const th_phase_mix &mix, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const;
  void counts(const th_phase_mix &mix, uint64_t samples, uint64_t *per_source) const { shares(mix).counts(samples, per_source); }

 private:
  ShareTree shares(const th_phase_mix &mix) const;

  uint64_t block_;
  size_t sources_;
};

}  // namespace weighted
