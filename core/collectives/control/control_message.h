// What ranks and rank 0 send each other once they have greeted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trainhost {

struct ControlMessage {
  enum class Type : uint8_t {
    // rank -> rank 0
    kHello,      // host, process
    kSet,        // key, value
    kGet,        // key; answered when it is set
    kLook,       // key; answered at once
    kHeartbeat,  // activity, then group and number of each group's newest operation. Rank 0 sends the same about itself
    kMissing,    // group, number, then the ranks in question; answered when all have sent a heartbeat since
    kStop,       // also rank 0 -> the other ranks
    kLeave,      // an error, or empty
    // rank 0 -> rank
    kWelcome,  // host and process of rank 0
    kStart,    // all ranks are here
    kRefusal,  // kind of error (number), text: there will be no run
    kAnswer,   // to kGet, kLook and kMissing: the value, or nothing
    kReport,   // send a heartbeat now
    kLoss,     // text
    kGoodbye,  // the answer to kLeave
  };
  Type type{};
  uint64_t request = 0;  // joins an answer to its question
  std::vector<std::string> fields = {};
};

constexpr uint32_t kControlMessageLimit = 1200000;  // bytes of a message's body
constexpr size_t kControlMessageHeader = 4;         // the body's length, little-endian

std::string encode(const ControlMessage &message);  // with its header
std::optional<ControlMessage> decode_control_message(std::string_view body);

}  // namespace trainhost
