// A process group over gloo.
#pragma once

#include <memory>
#include <vector>

#include "collectives/control_channel.h"
#include "collectives/launch_environment.h"
#include "collectives/process_group.h"

namespace trainhost {

Result<std::unique_ptr<ProcessGroup>> join_with_gloo(const LaunchEnvironment &launch, const ControlSettings &settings,
                                                     ControlChannel &channel);

}  // namespace trainhost
