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
  // Errors: kData when a source with a share has no window; kPluginContract from the mixer.
  static Result<std::unique_ptr<SampleStream>> create(const Recipe &recipe, const TokenAxis &axis, const PreparedData &data,
                                                      const DatasetMixer &mixer);
  ~SampleStream();

  // The micro-batches of a step, the last possibly of fewer sequences. Pure. Many threads at once.
  Result<StepBatch> step(uint64_t step) const;

  // Held-out windows of a source at a sequence length, at most max_tokens of them, in a fixed order. Empty when nothing is held out.
  std::vector<TokenBatch> held_out(uint32_t source, uint32_t sequence_length, uint64_t max_tokens, uint32_t micro_batch_sequences) const;

  // How many epochs of each source the run will have seen before the step.
  Result<std::vector<double>> epochs(uint64_t step) const;

 private:
  SampleStream() = default;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trainhost
