// A group of which a rank does not take part.
#include <array>
#include <barrier>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/join.h"
#include "support/launched_ranks.h"

namespace trainhost {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const ControlSettings kImpatient{.heartbeat = 500ms, .timeout = 1s};

void expect_missing(const Result<> &outcome, const std::string &text, const std::string &rank) {
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, ErrorKind::kUnavailable);
  EXPECT_THAT(outcome.error().message,
              AllOf(HasSubstr(text), HasSubstr("it needs " + rank + " (host "), HasSubstr("step 9, after gather 1")));
}

// The ranks but 1 wait for `operation`, which rank 1 does not begin.
void without_rank_1(const std::function<Result<>(ProcessGroup &)> &operation, const std::string &text) {
  std::barrier failed(3);
  test::run_gloo_ranks(
      3,
      [&](ControlChannel &channel, ProcessGroup &group) {
        channel.report_activity("step 9");
        ASSERT_TRUE(group.gather(std::vector<double>{1}));
        if (group.rank() != 1) expect_missing(operation(group), text, "rank 1");
        failed.arrive_and_wait();
      },
      kImpatient);
}

TEST(GlooFailure, OfAnAllGatherNamesTheMissingRank) {
  without_rank_1(
      [](ProcessGroup &group) {
        std::vector<float> whole(3000);
        return group.all_gather(whole, std::array<size_t, 4>{0, 1000, 2000, 3000})->wait();
      },
      "all_gather 2 of group \"world\" failed");
}

TEST(GlooFailure, OfAnExchangeNamesTheMissingRank) {
  without_rank_1(
      [](ProcessGroup &group) {
        std::vector<float> whole(3000000), received(3000000);
        return group.exchange(whole, std::array<size_t, 4>{0, 1000000, 2000000, 3000000}, received)->wait();
      },
      "exchange 2 of group \"world\" failed");
}

TEST(GlooFailure, OfAMessageNamesTheOtherRank) {
  without_rank_1(
      [](ProcessGroup &group) {
        std::vector<float> value(10);
        return group.receive(value, 1)->wait();
      },
      "receive 1 from rank 1 of group \"world\" failed");
}

TEST(GlooFailure, OfASplitNamesTheMissingRank) {
  without_rank_1(
      [](ProcessGroup &group) -> Result<> {
        TRAINHOST_TRY(const auto part, group.split(0));
        return {};
      },
      "gather 2 of group \"world\" failed");
}

TEST(GlooFailure, OfAnAddressNamesIt) {
  const test::LoopbackLaunch launch(2);
  std::vector<std::jthread> threads;
  for (uint32_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      auto environment = launch.rank(rank);
      const auto channel = ControlChannel::connect(environment, kImpatient);
      ASSERT_TRUE(channel);
      (*channel)->on_loss([](const std::string &) {});
      environment.interface = "192.0.2.1";
      const auto group = join(environment, kImpatient, **channel);
      ASSERT_FALSE(group);
      EXPECT_THAT(group.error().message, HasSubstr("192.0.2.1"));
      (*channel)->leave();
    });
  }
}

// Two ranks join, the third has died.
TEST(GlooFailure, OfJoiningNamesTheMissingRank) {
  const test::LoopbackLaunch launch(3);
  std::barrier failed(3);
  std::vector<std::jthread> threads;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      const auto channel = ControlChannel::connect(launch.rank(rank), kImpatient);
      ASSERT_TRUE(channel);
      if (rank != 2) {
        const auto group = join(launch.rank(rank), kImpatient, **channel);
        ASSERT_FALSE(group);
        EXPECT_EQ(group.error().kind, ErrorKind::kUnavailable);
        EXPECT_THAT(group.error().message, HasSubstr("rank 2 (host "));
        EXPECT_THAT(group.error().message, Not(HasSubstr("no rank is missing")));
      }
      failed.arrive_and_wait();
      (*channel)->leave();
    });
  }
}

}  // namespace
}  // namespace trainhost
