// What all ranks of a group come to know together: sums, and whether something holds or failed anywhere.
#pragma once

#include <string>
#include <vector>

#include "base/exact_sum.h"
#include "base/status.h"
#include "collectives/process_group.h"

namespace trainhost {

// The sums over the ranks of what each gives, the same bits on every rank whatever their number.
Result<std::vector<ExactSum>> sum_over(ProcessGroup &group, const std::vector<ExactSum> &sums);

// Numbers of each of which all ranks but one have 0, on all ranks: those of that one, unrounded. All ranks bring equally many.
Result<std::vector<double>> joined(ProcessGroup &group, const std::vector<double> &own);

// Whether any rank says so.
Result<bool> any_of(ProcessGroup &group, bool here);

// Success when all ranks bring success; else the failure of the first rank that has one, on every rank, naming it. So nobody goes on to
// wait for a rank that gave up.
Result<> agreed(ProcessGroup &group, const Result<> &here);
// Likewise, and what each rank brings, in rank order.
Result<std::vector<std::string>> agreed_texts(ProcessGroup &group, const Result<std::string> &here);
// Rank 0 acts, and all ranks get what came out.
template <class Action>
Result<std::string> agreed_on_first(ProcessGroup &group, const Action &act) {
  TRAINHOST_TRY(auto all, agreed_texts(group, group.rank() == 0 ? Result<std::string>(act()) : std::string()));
  return std::move(all.front());
}

}  // namespace trainhost
