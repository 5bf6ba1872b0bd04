#include "collectives/control/rank_roster.h"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainhost {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(SilenceWatch, TakesNobodyForLostBeforeTheSecondHeartbeatIsDueAndEverybodyAfter) {
  SilenceWatch watch(1600ms);
  auto now = SilenceWatch::Clock::now();
  watch.step(now);
  SilenceWatch::Clock::duration silence{};
  int steps = 0;
  for (; !watch.is_lost(silence); ++steps) silence += watch.step(now += SilenceWatch::interval(1600ms));
  EXPECT_GT(steps * 100ms, 2800ms);
  EXPECT_LE(steps * 100ms, 3200ms);
}

TEST(SilenceWatch, DoesNotCountWhatItMissedItself) {
  SilenceWatch watch(1600ms);
  auto now = SilenceWatch::Clock::now();
  watch.step(now);
  EXPECT_EQ(watch.step(now += 100ms), 100ms);
  EXPECT_EQ(watch.step(now += 1h), 200ms);
  EXPECT_EQ(watch.step(now += 100ms), 100ms);
}

TEST(RankRoster, ListsRanksByTheirState) {
  RankRoster roster(4);
  EXPECT_EQ(roster.with_state(RankRecord::State::kAbsent), "ranks 0, 1, 2 and 3");
  roster[0].state = roster[3].state = RankRecord::State::kPresent;
  EXPECT_EQ(roster.with_state(RankRecord::State::kAbsent), "ranks 1 and 2");
  roster[1].state = RankRecord::State::kLeft;
  EXPECT_EQ(roster.with_state(RankRecord::State::kAbsent), "rank 2");
  EXPECT_EQ(roster.with_state(RankRecord::State::kLost), "");
}

TEST(RankRoster, NamesALostRankBeforeThoseThatItKeepsWaiting) {
  RankRoster roster(3);
  const auto now = RankRecord::Clock::now();
  for (uint32_t rank = 0; rank < 3; ++rank) {
    roster[rank].state = RankRecord::State::kPresent;
    roster[rank].host = "node" + std::to_string(rank);
    roster[rank].process = std::to_string(100 + rank);
    roster[rank].heard = now - 500ms;
  }
  take_heartbeat({ControlMessage::Type::kHeartbeat, 0, {"step 3", "world", "8", "world.0.1", "2"}}, roster[1]);
  EXPECT_EQ(roster.missing("world", 8, std::array{1u, 2u}, now), "rank 2 (host node2, process 102, last heard of 0.5 s ago)");
  EXPECT_EQ(roster.missing("world", 9, std::array{1u}, now), "rank 1 (host node1, process 101, last heard of 0.5 s ago: step 3)");
  EXPECT_THAT(roster.missing("world.0.1", 2, std::array{1u}, now), HasSubstr("no rank is missing"));
  roster[0].ending = describe_loss(0, roster[0], "it has missed two heartbeats of 5 s", now);
  roster[0].state = RankRecord::State::kLost;
  const std::string missing = roster.missing("world", 9, std::array{0u, 1u, 2u}, now);
  EXPECT_EQ(missing, "rank 0 (host node0, process 100, last heard of 0.5 s ago) is lost: it has missed two heartbeats of 5 s");
}

TEST(RankRoster, ReadsHeartbeatsOfAnyShape) {
  RankRecord record;
  take_heartbeat({ControlMessage::Type::kHeartbeat, 0, {}}, record);
  take_heartbeat({ControlMessage::Type::kHeartbeat, 0, {"step 1", "world"}}, record);
  take_heartbeat({ControlMessage::Type::kHeartbeat, 0, {"step 2", "world", "no number"}}, record);
  EXPECT_EQ(record.activity, "step 2");
  EXPECT_EQ(record.operations["world"], 0u);
}

}  // namespace
}  // namespace trainhost
