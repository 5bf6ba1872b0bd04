// How the ranks of a group come to one outcome of what each did on its own: whatever failed on one has failed on all, before anybody
// takes a step that assumes success.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "collectives/process_group.h"

namespace trainhost {

// What each rank found, in rank order. If it failed on any, all ranks get the error of the lowest one that failed, which its message
// names. A collective call, which every rank must reach with whatever came out; kUnavailable when the others do not.
Result<std::vector<std::string>> agree(ProcessGroup &group, const Result<std::string> &mine);
Result<> agree(ProcessGroup &group, const Result<> &mine);

// Rank 0 acts, and all ranks get what came out.
template <class Action>
Result<std::string> agree_on_first(ProcessGroup &group, const Action &act) {
  TRAINHOST_TRY(auto found, agree(group, group.rank() == 0 ? Result<std::string>(act()) : std::string()));
  return std::move(found.front());
}

}  // namespace trainhost
