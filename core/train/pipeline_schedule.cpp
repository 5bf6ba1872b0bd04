#include "train/pipeline_schedule.h"

#include <algorithm>

namespace trainhost {

std::vector<PipelineAction> one_forward_one_backward(uint32_t stage, uint32_t stages, uint32_t micro_batches) {
  std::vector<PipelineAction> actions;
  const uint32_t ahead = std::min(stages - stage - 1, micro_batches);
  for (uint32_t i = 0; i < ahead; ++i) actions.push_back({true, i});
  for (uint32_t i = 0; i < micro_batches; ++i) {
    if (ahead + i < micro_batches) actions.push_back({true, ahead + i});
    actions.push_back({false, i});
  }
  return actions;
}

}  // namespace trainhost
