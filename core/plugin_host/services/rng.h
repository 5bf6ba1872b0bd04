// The service th.rng/1.
#pragma once

#include "trainhost/ext/rng.h"

namespace trainhost {

// Static memory. Any thread.
const th_rng &rng_service();

}  // namespace trainhost
