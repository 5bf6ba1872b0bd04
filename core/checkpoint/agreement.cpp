#include "checkpoint/agreement.h"

#include <algorithm>

namespace trainhost {
namespace {

constexpr char kSuccess = '+';  // any other first character is '0' + the kind of the error

std::string encode(const Result<std::string> &found) {
  if (found) return kSuccess + *found;
  return static_cast<char>('0' + static_cast<int>(found.error().kind)) + found.error().message;
}

}  // namespace

Result<std::vector<std::string>> agree(ProcessGroup &group, const Result<std::string> &mine) {
  TRAINHOST_TRY(auto all, group.gather(encode(mine)));
  const auto failed = std::find_if(all.begin(), all.end(), [](const std::string &found) { return found.front() != kSuccess; });
  if (failed != all.end()) {
    const std::string owner = group.size() == 1 ? "" : "rank " + std::to_string(failed - all.begin()) + ": ";
    return failure(static_cast<ErrorKind>(failed->front() - '0'), owner + failed->substr(1));
  }
  for (std::string &found : all) found.erase(0, 1);
  return all;
}

Result<> agree(ProcessGroup &group, const Result<> &mine) {
  return agree(group, mine.map([] { return std::string(); })).map([](auto &&) {});
}

}  // namespace trainhost
