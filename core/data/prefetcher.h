// Builds the batches of coming steps on a thread of its own, so that training never waits for data.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "data/sample_stream.h"

namespace trainhost {

class Prefetcher {
 public:
  // The share of steps [first_step, end_step) in order, `depth` ahead at most. The stream must outlive it.
  Prefetcher(const SampleStream &stream, uint64_t first_step, uint64_t end_step, uint32_t depth, Share share = {});
  ~Prefetcher();  // stops and joins its thread

  // The next step's batches; waits when they are not ready. Not called after the last step. One thread.
  Result<StepBatch> next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trainhost
