// Ranks as threads of the test's process: a ProcessGroup over shared memory, and a way to run a body on all of them.
#pragma once

#include <cstdint>
#include <functional>

#include "collectives/process_group.h"

namespace trainhost::test {

// Runs body(group) on `size` threads at once, each with its own rank; returns when all have ended. An operation of which the ranks
// disagree (another operation, other lengths) ends the test program.
void run_ranks(uint32_t size, const std::function<void(ProcessGroup &group)> &body);

}  // namespace trainhost::test
