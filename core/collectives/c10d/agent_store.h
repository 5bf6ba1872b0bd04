// torchrun's store.
#pragma once

#include "collectives/c10d_module.h"

namespace trainhost {

Result<std::unique_ptr<AgentStore>> open_torchrun_store(const LaunchEnvironment &launch, std::chrono::milliseconds timeout);

}  // namespace trainhost
