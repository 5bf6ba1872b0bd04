#include "collectives/c10d/membership.h"

#include <fmt/format.h>

namespace trainhost {

std::vector<uint32_t> Membership::others() const {
  std::vector<uint32_t> ranks = members;
  ranks.erase(ranks.begin() + place);
  return ranks;
}

Membership part_of(const Membership &whole, uint64_t number, const std::vector<double> &colours) {
  const double colour = colours[whole.place];
  Membership part{fmt::format("{}.{}.{}", whole.name, number, colour), 0, {}, whole.channel, whole.timeout};
  for (uint32_t place = 0; place < whole.members.size(); ++place) {
    if (colours[place] != colour) continue;
    if (place == whole.place) part.place = static_cast<uint32_t>(part.members.size());
    part.members.push_back(whole.members[place]);
  }
  return part;
}

tl::unexpected<Error> unfinished(const Membership &membership, const Operation &operation, const std::vector<uint32_t> &others,
                                 std::string_view reason) {
  return failure(ErrorKind::kUnavailable, fmt::format("{} of group \"{}\" failed: {}; it needs {}", describe(operation), membership.name,
                                                      reason, membership.channel.missing(operation, others)));
}

}  // namespace trainhost
