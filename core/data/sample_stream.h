// The order of training: a pure function from (phase or round of one, sample index) to a packed window of tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/batch.h"
#include "data/prepare.h"
#include "plugin_host/adapters/dataset_mixer.h"
#include "recipe/token_axis.h"

namespace trainhost {

// How far a source has been read: `window` of `windows` in epoch `epoch`.
struct ReadingPosition {
  uint64_t epoch = 0, window = 0, windows = 1;

  // The same place in another packing, rounded up: what was read does not come again in this epoch.
  ReadingPosition in(uint64_t other_windows) const;
  ReadingPosition after(uint64_t samples) const;
  double epochs() const { return static_cast<double>(epoch) + static_cast<double>(window) / static_cast<double>(windows); }
  bool operator==(const ReadingPosition &) const = default;
};

// Steps of one phase whose shares a mixer with th.mixer.feedback/1 has chosen, and where each source stands before them. The vectors have
// one entry per source.
struct MixRound {
  uint64_t number = 0;                    // from 0 in a run
  uint64_t first_step = 0, end_step = 0;  // [first, end)
  std::vector<double> weights;            // sum 1
  std::vector<ReadingPosition> start;
  bool operator==(const MixRound &) const = default;
};

class SampleStream {
 public:
  // Packs every source at every sequence length that a phase uses, and works out with mixer.counts where each phase continues each
  // source, so that no window comes twice before all came once; a mix that moves does so as mix_pieces() says. The arguments must outlive
  // the stream.
  // Where a phase has another sequence length, each source goes on at the same part of its epoch, rounded up to a window.
  // Errors: kData when a source with a share has no window, or all of a phase's sources together have less than one batch;
  // kPluginContract from the mixer.
  static Result<std::unique_ptr<SampleStream>> create(const Recipe &recipe, const TokenAxis &axis, const PreparedData &data,
                                                      const DatasetMixer &mixer);
  ~SampleStream();

  // After the axis has grown (TokenAxis::grow): works out anew where the steps to come continue each source. Not while another thread uses
  // the stream. Errors: the mixer's.
  Result<> follow_axis();

  // From now on the stream is that of the round, whose steps alone may be asked for; without one, that of the phases with the recipe's
  // mixes, as in the beginning. Not while another thread uses the stream.
  void enter(const std::optional<MixRound> &round);

  // The micro-batches of a step that are the share's, the last possibly of fewer sequences. Pure, but for enter(). Many threads at once.
  // Fails with kData when a token store was changed since it was opened.
  Result<StepBatch> step(uint64_t step, Share share = {}) const;

  // Held-out windows of a source at a sequence length, max_tokens of them at most but one window at least, packed by best fit and in
  // an order that is the same for all runs. Empty when nothing is held out, or with a warning when the store was changed since it
  // was opened.
  std::vector<TokenBatch> held_out(uint32_t source, uint32_t sequence_length, uint64_t max_tokens, uint32_t micro_batch_sequences) const;

  // The mix at a step as the recipe has it.
  const PhaseMix &mix(uint64_t step) const;
  // How far each source has been read before the step; in a round also at its end. Without one, as the mixes of the phases have it.
  Result<std::vector<ReadingPosition>> positions(uint64_t step) const;

 private:
  SampleStream() = default;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trainhost
