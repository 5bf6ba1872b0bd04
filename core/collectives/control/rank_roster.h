// What rank 0 knows of every rank.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "collectives/control/control_message.h"

namespace trainhost {

// Who and where a rank is, and what it last said. Time is that of the listener's own monotonic clock.
struct RankRecord {
  using Clock = std::chrono::steady_clock;
  enum class State { kAbsent, kPresent, kLeft, kLost };

  State state = State::kAbsent;
  std::string host, process;
  Clock::time_point heard{};                   // when its newest message came
  std::string activity;                        // "step 17, after all_gather 92"; empty: nothing yet
  std::map<std::string, uint64_t> operations;  // group -> number of the newest operation that it has begun
  std::string ending;                          // how it was lost
};

// How long a rank may be silent: two heartbeats, less what it takes to notice and to tell the others, so that they know within two.
constexpr std::chrono::milliseconds longest_silence(std::chrono::milliseconds heartbeat) { return 2 * heartbeat - heartbeat / 8; }

// The activity and the operations out of a heartbeat.
void take_heartbeat(const ControlMessage &message, RankRecord &record);

// "rank 2 (host node7, process 4711, last heard of 0.3 s ago: step 17)".
std::string describe_rank(uint32_t rank, const RankRecord &record, RankRecord::Clock::time_point now);

// "rank 2 (...) is lost: its connection ended without a goodbye".
std::string describe_loss(uint32_t rank, const RankRecord &record, const std::string &how, RankRecord::Clock::time_point now);

class RankRoster {
 public:
  explicit RankRoster(uint32_t world_size) : records_(world_size) {}
  uint32_t size() const { return static_cast<uint32_t>(records_.size()); }
  RankRecord &operator[](uint32_t rank) { return records_[rank]; }

  // "rank 2" or "ranks 2, 3 and 7"; empty when there is none.
  std::string with_state(RankRecord::State state) const;
  // See ControlChannel::missing. number 0: all of them.
  std::string missing(const std::string &group, uint64_t number, std::span<const uint32_t> ranks, RankRecord::Clock::time_point now) const;

 private:
  std::vector<RankRecord> records_;
};

}  // namespace trainhost
