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

// Measures the silences of those who should send heartbeats. It is told the time every sixteenth of a heartbeat. What it misses itself, on
// a busy machine or while stopped, is not counted: what the others sent meanwhile is still to be read.
class SilenceWatch {
 public:
  using Clock = std::chrono::steady_clock;
  explicit SilenceWatch(std::chrono::milliseconds heartbeat) : heartbeat_(heartbeat) {}

  static std::chrono::milliseconds interval(std::chrono::milliseconds heartbeat) { return heartbeat / 16; }
  // What the silences grow by.
  Clock::duration step(Clock::time_point now);
  // Two heartbeats, less what it takes to notice and to tell the others, so that they know within two.
  bool is_lost(Clock::duration silence) const { return silence > 2 * heartbeat_ - heartbeat_ / 8; }

 private:
  std::chrono::milliseconds heartbeat_;
  Clock::time_point last_ = Clock::now();
};

// Who and where a rank is, and what it last said. Time is that of the listener's own monotonic clock.
struct RankRecord {
  using Clock = std::chrono::steady_clock;
  enum class State { kAbsent, kPresent, kLeft, kLost };

  State state = State::kAbsent;
  std::string host, process;
  Clock::time_point heard{};                   // when its newest message came
  Clock::duration silence{};                   // since then, as SilenceWatch counts
  std::string activity;                        // "step 17, after all_gather 92"; empty: nothing yet
  std::map<std::string, uint64_t> operations;  // group -> number of the newest operation that it has begun
  std::string ending;                          // how it was lost
};

void hear_from(RankRecord &record);

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
