// Who is in a group of the c10d kind, and how it fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "collectives/control_channel.h"

namespace trainhost {

// What a group and the operations under way in it share.
struct Membership {
  std::string name;               // "world", "world.0.1"
  uint32_t place = 0;             // of this process in `members`
  std::vector<uint32_t> members;  // as ranks of the world
  ControlChannel &channel;
  std::chrono::milliseconds timeout;

  std::vector<uint32_t> others() const;
};

// The members that gave the same colour as this process; colours: of every member. `number` differs between the splits of a group.
Membership part_of(const Membership &whole, uint64_t number, const std::vector<double> &colours);

// kUnavailable: the operation failed for that reason, and those of `others` are missing.
tl::unexpected<Error> unfinished(const Membership &membership, const Operation &operation, const std::vector<uint32_t> &others,
                                 std::string_view reason);

}  // namespace trainhost
