// Which checkpoints may go.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace trainhost {

// Of checkpoints given oldest first, those that are neither among the newest `keep` sound ones, nor labelled with one of always_keep,
// nor of step `newest_verified`. A damaged one does not count towards `keep`; it goes when as many sound ones are newer.
std::vector<CheckpointInfo> expired(std::span<const CheckpointInfo> checkpoints, uint32_t keep, std::span<const std::string> always_keep,
                                    std::optional<uint64_t> newest_verified);

}  // namespace trainhost
