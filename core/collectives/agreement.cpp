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

Result<std::vector<double>> joined(ProcessGroup &group, const std::vector<double> &own) {
  TRAINHOST_TRY(const auto all, group.gather(own));
  std::vector<double> numbers(own.size());
  for (size_t i = 0; i < all.size(); ++i) numbers[i % numbers.size()] += all[i];
  return numbers;
}

Result<bool> any_of(ProcessGroup &group, bool here) {
  const double value = here ? 1 : 0;
  TRAINHOST_TRY(const auto values, group.gather({&value, 1}));
  return std::ranges::any_of(values, [](double one) { return one != 0; });
}

Result<> agreed(ProcessGroup &group, const Result<> &here) {
  return agreed_texts(group, here.map([] { return std::string(); })).map([](auto &&) {});
}

Result<std::vector<std::string>> agreed_texts(ProcessGroup &group, const Result<std::string> &here) {
  if (group.size() == 1) return here.map([](const std::string &text) { return std::vector{text}; });
  constexpr char kSuccess = '+';  // before a text; before a message stands '0' + the kind of the error
  const std::string told = here ? kSuccess + *here : static_cast<char>('0' + static_cast<int>(here.error().kind)) + here.error().message;
  TRAINHOST_TRY(auto all, group.gather(told));
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const char mark = all[rank].front();
    all[rank].erase(0, 1);
    if (mark != kSuccess) return failure(static_cast<ErrorKind>(mark - '0'), "rank " + std::to_string(rank) + ": " + all[rank]);
  }
  return all;
}

}  // namespace trainhost
