// A dataset mixer plugin as an object.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugin_host/instance.h"
#include "trainhost/ext/mixer_feedback.h"
#include "trainhost/kinds/dataset_mixer.h"

namespace trainhost {

struct MixerSource {
  std::string name, language, quality;
  uint64_t tokens = 0;
};

// The mix of a phase, or of a round of one; the vectors have one entry per source.
struct PhaseMix {
  uint32_t phase = 0;
  std::vector<double> weights;    // sums to 1
  std::vector<uint64_t> windows;  // samples per epoch
  uint64_t samples = 0;
};

// What a mixer with th.mixer.feedback/1 says of its rounds.
struct MixerRounds {
  uint32_t state_size = 0;
  double tokens = 0;  // a round ends with the first step that reaches it
};

// What a mixer learns when a round begins; the vectors have one entry per source.
struct RoundBefore {
  uint64_t round = 0;           // number of the one that begins, from 0 in a run
  std::vector<double> weights;  // of the round before, sum 1; of round 0 the phase's
  std::vector<double> losses;   // mean over the source's counted tokens in the round before; NaN without any
  std::vector<uint64_t> tokens;
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

  // Whether, and in what rounds, the mixer moves the shares of the sources (th.mixer.feedback/1); the same for its whole life.
  const std::optional<MixerRounds> &rounds() const { return rounds_; }
  // Begins a round in `phase`, whose weights are the recipe's: changes the state of rounds()->state_size numbers and fills `weights`, one
  // per source, with shares that sum to 1. Weights or a state that ext/mixer_feedback.h rules out are kPluginContract; on any error both
  // are undefined. One thread at a time.
  Result<> next_round(const PhaseMix &phase, const RoundBefore &before, std::span<double> state, std::span<double> weights) const;

 private:
  DatasetMixer() = default;
  Result<> find_feedback();
  std::unique_ptr<PluginInstance> plugin_;
  const th_dataset_mixer_api *api_ = nullptr;
  th_dataset_mixer *self_ = nullptr;
  const th_mixer_feedback *feedback_ = nullptr;
  std::optional<MixerRounds> rounds_;
};

}  // namespace trainhost
