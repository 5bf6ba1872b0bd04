// How Slurm writes lists of machines and of tasks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace trainhost {

// "gpu[08-10,12],login" -> gpu08 gpu09 gpu10 gpu12 login, as `scontrol show hostnames` prints it: a range keeps the width of its first
// number, and of several brackets the last one runs fastest. kUsage: what is wrong with the text.
Result<std::vector<std::string>> expand_host_list(std::string_view text);

// "4(x2),3" -> 4 4 3: SLURM_TASKS_PER_NODE, one number for each machine. kUsage: what is wrong with the text.
Result<std::vector<uint32_t>> expand_tasks_per_node(std::string_view text);

}  // namespace trainhost
