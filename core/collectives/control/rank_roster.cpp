#include "collectives/control/rank_roster.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

namespace trainhost {
namespace {

using State = RankRecord::State;

std::string enumerate(const std::vector<std::string> &items) {
  std::string text;
  for (size_t item = 0; item < items.size(); ++item) {
    if (item > 0) text += item + 1 == items.size() ? " and " : ", ";
    text += items[item];
  }
  return text;
}

uint64_t number_from(const std::string &text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

bool has_begun(const RankRecord &record, const std::string &group, uint64_t number) {
  const auto operation = record.operations.find(group);
  return number > 0 && operation != record.operations.end() && operation->second >= number;
}

}  // namespace

SilenceWatch::Clock::duration SilenceWatch::step(Clock::time_point now) {
  const auto elapsed = now - std::exchange(last_, now);
  return std::min<Clock::duration>(elapsed, 2 * interval(heartbeat_));
}

void hear_from(RankRecord &record) {
  record.heard = RankRecord::Clock::now();
  record.silence = {};
}

void take_heartbeat(const ControlMessage &message, RankRecord &record) {
  if (message.fields.empty()) return;
  record.activity = message.fields[0];
  for (size_t field = 1; field + 1 < message.fields.size(); field += 2) {
    record.operations[message.fields[field]] = number_from(message.fields[field + 1]);
  }
}

std::string describe_rank(uint32_t rank, const RankRecord &record, RankRecord::Clock::time_point now) {
  if (record.state == State::kAbsent) return fmt::format("rank {} (not connected)", rank);
  if (record.state == State::kLost) return record.ending;
  if (record.state == State::kLeft)
    return fmt::format("rank {} (host {}, process {}, has left the run)", rank, record.host, record.process);
  const double silence = std::chrono::duration<double>(now - record.heard).count();
  return fmt::format("rank {} (host {}, process {}, last heard of {:.1f} s ago{}{})", rank, record.host, record.process, silence,
                     record.activity.empty() ? "" : ": ", record.activity);
}

std::string describe_loss(uint32_t rank, const RankRecord &record, const std::string &how, RankRecord::Clock::time_point now) {
  return fmt::format("{} is lost: {}", describe_rank(rank, record, now), how);
}

std::string RankRoster::with_state(State state) const {
  std::vector<std::string> ranks;
  for (size_t rank = 0; rank < records_.size(); ++rank) {
    if (records_[rank].state == state) ranks.push_back(std::to_string(rank));
  }
  if (ranks.empty()) return {};
  return (ranks.size() == 1 ? "rank " : "ranks ") + enumerate(ranks);
}

std::string RankRoster::missing(const std::string &group, uint64_t number, std::span<const uint32_t> ranks,
                                RankRecord::Clock::time_point now) const {
  std::vector<std::string> lost, behind, all;
  for (const uint32_t rank : ranks) {
    if (rank >= records_.size()) continue;
    const RankRecord &record = records_[rank];
    const std::string description = describe_rank(rank, record, now);
    all.push_back(description);
    if (record.state == State::kLost || record.state == State::kLeft) {
      lost.push_back(description);
    } else if (!has_begun(record, group, number)) {
      behind.push_back(description);
    }
  }
  if (!lost.empty()) return enumerate(lost);
  if (!behind.empty()) return enumerate(behind);
  return "no rank is missing, so that the network between them may be cut: " + enumerate(all);
}

}  // namespace trainhost
