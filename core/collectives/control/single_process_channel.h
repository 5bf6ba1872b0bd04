// The control channel of a process that trains alone.
#pragma once

#include <memory>

#include "collectives/control_channel.h"

namespace trainhost {

// Keeps values; has nobody to wait for, to lose or to tell.
std::unique_ptr<ControlChannel> single_process_channel();

}  // namespace trainhost
