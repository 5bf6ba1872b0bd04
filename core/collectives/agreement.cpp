#include "collectives/agreement.h"

#include <algorithm>
#include <span>
#include <string>

namespace trainhost {

Result<std::vector<ExactSum>> sum_over(ProcessGroup &group, const std::vector<ExactSum> &sums) {
  if (group.size() == 1) return sums;
  std::vector<double> limbs;
  for (const ExactSum &sum : sums) {
    const auto own = sum.limbs();
    limbs.insert(limbs.end(), own.begin(), own.end());
  }
  TRAINHOST_TRY(const auto all, group.gather(limbs));
  constexpr size_t kLength = ExactSum::kLimbs + 1;
  std::vector<ExactSum> totals(sums.size());
  for (size_t i = 0; i < all.size() / kLength; ++i) totals[i % sums.size()].add(std::span(all).subspan(i * kLength, kLength));
  return totals;
}

Result<bool> any_of(ProcessGroup &group, bool here) {
  const double value = here ? 1 : 0;
  TRAINHOST_TRY(const auto values, group.gather({&value, 1}));
  return std::ranges::any_of(values, [](double one) { return one != 0; });
}

Result<> agreed(ProcessGroup &group, const Result<> &here) {
  if (group.size() == 1) return here;
  const std::string told = here ? "" : std::to_string(static_cast<int>(here.error().kind)) + " " + here.error().message;
  TRAINHOST_TRY(const auto all, group.gather(told));
  if (!here) return here;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].empty()) continue;
    const size_t space = all[rank].find(' ');
    return failure(static_cast<ErrorKind>(std::stoi(all[rank].substr(0, space))),
                   "rank " + std::to_string(rank) + ": " + all[rank].substr(space + 1));
  }
  return {};
}

}  // namespace trainhost
