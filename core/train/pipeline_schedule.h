// In which order a pipeline stage runs its micro-batches.
#pragma once

#include <cstdint>
#include <vector>

namespace trainhost {

struct PipelineAction {
  bool forward = true;  // else backward
  uint32_t micro_batch = 0;
  bool operator==(const PipelineAction &) const = default;
};

// One forward, one backward (Narayanan et al. 2021, arXiv 2104.04473, section 2.2.1): as many forwards as there are stages after this one,
// then a forward and a backward in turn, then the backwards that are left. A stage never has more than `stages - stage` micro-batches
// under way. With one stage: forward and backward of each micro-batch.
std::vector<PipelineAction> one_forward_one_backward(uint32_t stage, uint32_t stages, uint32_t micro_batches);

}  // namespace trainhost
