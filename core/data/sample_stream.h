// The order of training: a pure function from (phase, sample index) to a packed window of tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/batch.h"
#include "data/prepare.h"
#include "plugin_host/adapters/dataset_mixer.h"
#include "recipe/token_axis.h"

namespace trainhost {

class SampleStream {
 public:
  // Packs every source at every sequence length that a phase uses, and works out with mixer.counts where each phase continues each
  // source, so that no window comes twice before all came once. The arguments must outlive the stream.
  // Where a phase has another sequence length, each source goes on at the same part of its epoch, rounded up to a window.
  // Errors: kData when a source with a share has no window, or all of a phase's sources together have less than one batch;
  // kPluginContract from the mixer.
  static Result<std::unique_ptr<SampleStream>> create(const Recipe &recipe, const TokenAxis &axis, const PreparedData &data,
                                                      const DatasetMixer &mixer);
  ~SampleStream();

  // The micro-batches of a step that are the share's, the last possibly of fewer sequences. Pure. Many threads at once. Fails with kData
  // when a token store was changed since it was opened.
  Result<StepBatch> step(uint64_t step, Share share = {}) const;

  // Held-out windows of a source at a sequence length, max_tokens of them at most but one window at least, packed by best fit and in
  // an order that is the same for all runs. Empty when nothing is held out, or with a warning when the store was changed since it
  // was opened.
  std::vector<TokenBatch> held_out(uint32_t source, uint32_t sequence_length, uint64_t max_tokens, uint32_t micro_batch_sequences) const;

  // How many epochs of each source the run will have seen before the step.
  Result<std::vector<double>> epochs(uint64_t step) const;

 private:
  SampleStream() = default;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trainhost
