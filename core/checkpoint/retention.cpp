#include "checkpoint/retention.h"

#include <algorithm>

namespace trainhost {

std::vector<CheckpointInfo> expired(std::span<const CheckpointInfo> checkpoints, uint32_t keep, std::span<const std::string> always_keep,
                                    std::optional<uint64_t> newest_verified) {
  std::vector<CheckpointInfo> result;
  uint32_t sound = 0;
  for (auto info = checkpoints.rbegin(); info != checkpoints.rend(); ++info) {
    const bool counted_out = sound >= keep;
    if (info->problem.empty()) ++sound;
    const bool labelled = info->problem.empty() && std::find(always_keep.begin(), always_keep.end(), info->label) != always_keep.end();
    if (counted_out && !labelled && info->step != newest_verified) result.push_back(*info);
  }
  std::reverse(result.begin(), result.end());
  return result;
}

}  // namespace trainhost
