// A dataset mixer plugin as an object.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plugin_host/instance.h"
#include "trainhost/kinds/dataset_mixer.h"

namespace trainhost {

struct MixerSource {
  std::string name, language, quality;
  uint64_t tokens = 0;
};

// A phase's mix; the vectors have one entry per source.
struct PhaseMix {
  uint32_t phase = 0;
  std::vector<double> weights;    // sums to 1
  std::vector<uint64_t> windows;  // samples per epoch
  uint64_t samples = 0;
};

class DatasetMixer {
 public:
  static Result<std::unique_ptr<DatasetMixer>> create(std::unique_ptr<PluginInstance> plugin, std::span<const MixerSource> sources,
                                                      uint64_t seed);
  ~DatasetMixer();

  // For samples [first, first + source.size()): source and ordinal among that source's samples of the phase; see
  // kinds/dataset_mixer.h. A source out of range, or one of weight 0 or without windows, is kPluginContract. Many threads at once.
  Result<> plan(const PhaseMix &mix, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const;
  // Per source, among the phase's first `samples` samples. Many threads at once.
  Result<std::vector<uint64_t>> counts(const PhaseMix &mix, uint64_t samples) const;

 private:
  DatasetMixer() = default;
  std::unique_ptr<PluginInstance> plugin_;
  const th_dataset_mixer_api *api_ = nullptr;
  th_dataset_mixer *self_ = nullptr;
};

}  // namespace trainhost
