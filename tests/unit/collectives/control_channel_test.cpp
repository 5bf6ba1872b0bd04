#include "collectives/control_channel.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collectives/control/greeting.h"
#include "support/launched_ranks.h"
#include "support/raw_connection.h"

namespace trainhost {
namespace {

using namespace std::chrono_literals;
using test::LoopbackLaunch;
using test::short_settings;
using testing::HasSubstr;
using testing::Not;
using Channel = Result<std::unique_ptr<ControlChannel>>;

// Connects all that are given at once. A channel that came about leaves when `body` has returned on all ranks.
using Body = std::function<void(uint32_t index, ControlChannel &channel)>;
std::vector<Channel> connect(const std::vector<LaunchEnvironment> &launches, const ControlSettings &settings, const Body &body = {}) {
  std::vector<Channel> channels(launches.size());
  std::barrier together(static_cast<ptrdiff_t>(launches.size()));
  std::vector<std::jthread> threads;
  for (uint32_t index = 0; index < launches.size(); ++index) {
    threads.emplace_back([&, index] {
      channels[index] = ControlChannel::connect(launches[index], settings);
      if (channels[index] && body) body(index, **channels[index]);
      together.arrive_and_wait();
      if (channels[index]) (*channels[index])->leave();
    });
  }
  threads.clear();
  return channels;
}

std::vector<LaunchEnvironment> all_ranks(const LoopbackLaunch &launch, uint32_t size) {
  std::vector<LaunchEnvironment> launches;
  for (uint32_t rank = 0; rank < size; ++rank) launches.push_back(launch.rank(rank));
  return launches;
}

ControlSettings impatient() { return {.heartbeat = 200ms, .timeout = 1s}; }
ControlSettings brisk() { return {.heartbeat = 200ms, .timeout = 20s}; }

// The value, or why there is none.
std::string text_of(const Result<std::string> &value) { return value ? *value : value.error().message; }

void expect_failure(const Channel &channel, ErrorKind kind, const std::string &text) {
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().kind, kind) << channel.error().message;
  EXPECT_THAT(channel.error().message, HasSubstr(text));
}

TEST(ControlChannel, KeepsValuesForAllRanks) {
  const LoopbackLaunch launch(3);
  const std::string large(1000000, '\0');
  connect(all_ranks(launch, 3), short_settings(), [&](uint32_t rank, ControlChannel &channel) {
    if (rank == 1) {
      const auto nothing = channel.look("nobody sets this");
      ASSERT_TRUE(nothing) << nothing.error().message;
      EXPECT_FALSE(*nothing);
      std::this_thread::sleep_for(100ms);  // the others wait meanwhile
      ASSERT_TRUE(channel.set("small", "value"));
      ASSERT_TRUE(channel.set("large", large));
    }
    EXPECT_EQ(text_of(channel.get("small")), "value");
    EXPECT_EQ(text_of(channel.get("large")), large);
    const auto small = channel.look("small");
    ASSERT_TRUE(small) << small.error().message;
    EXPECT_EQ(*small, "value");
    EXPECT_FALSE(channel.set("too large", std::string(1 << 20, 'x')));
  });
}

TEST(ControlChannel, OfAProcessAloneNeedsNoSocket) {
  const auto channel = ControlChannel::connect({}, short_settings());
  ASSERT_TRUE(channel) << channel.error().message;
  ASSERT_TRUE((*channel)->set("key", "value"));
  EXPECT_EQ(text_of((*channel)->get("key")), "value");
  EXPECT_FALSE((*channel)->get("never set"));
  (*channel)->leave();
}

TEST(ControlChannel, WaitsForAKeyNoLongerThanTheTimeout) {
  const LoopbackLaunch launch(2);
  connect(all_ranks(launch, 2), impatient(), [](uint32_t rank, ControlChannel &channel) {
    if (rank == 0) return std::this_thread::sleep_for(1200ms);
    const auto value = channel.get("never set");
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().kind, ErrorKind::kUnavailable);
    EXPECT_THAT(value.error().message, HasSubstr("never set"));
  });
}

TEST(ControlChannel, TellsAllOthersOfAStop) {
  const LoopbackLaunch launch(3);
  std::array<std::atomic<int>, 3> stops{};
  std::barrier ready(3);
  connect(all_ranks(launch, 3), short_settings(), [&](uint32_t rank, ControlChannel &channel) {
    if (rank != 2) channel.on_stop([&stops, rank] { ++stops[rank]; });
    ready.arrive_and_wait();
    if (rank == 1) channel.announce_stop();
    for (int wait = 0; wait < 100 && stops[0] == 0; ++wait) std::this_thread::sleep_for(10ms);
    if (rank == 2) {  // its handler comes late
      std::this_thread::sleep_for(100ms);
      channel.on_stop([&stops] { ++stops[2]; });
      for (int wait = 0; wait < 100 && stops[2] == 0; ++wait) std::this_thread::sleep_for(10ms);
    }
  });
  EXPECT_EQ(stops[0], 1);
  EXPECT_EQ(stops[1], 0);
  EXPECT_EQ(stops[2], 1);
}

TEST(ControlChannel, LeavingIsNoLoss) {
  const LoopbackLaunch launch(3);
  std::atomic<int> losses = 0;
  std::vector<std::jthread> threads;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      const auto channel = ControlChannel::connect(launch.rank(rank), short_settings());
      ASSERT_TRUE(channel) << channel.error().message;
      (*channel)->on_loss([&](const std::string &) { ++losses; });
      std::this_thread::sleep_for(300ms * rank);
      (*channel)->leave();  // rank 0 first: it waits for the others
    });
  }
  threads.clear();
  EXPECT_EQ(losses, 0);
}

TEST(ControlChannel, TellsTheOthersOfAnErrorOfARankThatLeaves) {
  const LoopbackLaunch launch(3);
  std::array<std::string, 3> losses;
  std::array<std::atomic<bool>, 3> told{};
  std::barrier ready(3);
  std::vector<std::jthread> threads;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      const auto channel = ControlChannel::connect(launch.rank(rank), short_settings());
      ASSERT_TRUE(channel) << channel.error().message;
      (*channel)->on_loss([&, rank](const std::string &what) {
        losses[rank] = what;
        told[rank] = true;
      });
      ready.arrive_and_wait();
      if (rank == 1) return (*channel)->leave("the disk is full");
      for (int wait = 0; wait < 200 && !told[rank]; ++wait) std::this_thread::sleep_for(10ms);
      (*channel)->leave();
    });
  }
  threads.clear();
  EXPECT_EQ(losses[1], "");
  for (const uint32_t rank : {0, 2}) {
    EXPECT_THAT(losses[rank], HasSubstr("rank 1 (host "));
    EXPECT_THAT(losses[rank], HasSubstr("has failed: the disk is full"));
  }
}

TEST(ControlChannel, Rank0WaitsNoLongerThanTheTimeoutForOneThatNeverLeaves) {
  const LoopbackLaunch launch(2);
  std::atomic<bool> rank_0_gone = false;
  std::vector<std::jthread> threads;
  for (uint32_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      auto channel = ControlChannel::connect(launch.rank(rank), impatient());
      ASSERT_TRUE(channel) << channel.error().message;
      (*channel)->on_loss([&](const std::string &what) {
        EXPECT_THAT(what, testing::StartsWith("rank 0 (host "));
        rank_0_gone = true;
      });
      if (rank == 0) return (*channel)->leave();
      for (int wait = 0; wait < 500 && !rank_0_gone; ++wait) std::this_thread::sleep_for(10ms);
    });
  }
  threads.clear();
  EXPECT_TRUE(rank_0_gone);
}

TEST(ControlChannel, NamesWhoHasNotBegunAnOperation) {
  const LoopbackLaunch launch(4);
  std::barrier reported(4), asked(4);
  connect(all_ranks(launch, 4), short_settings(), [&](uint32_t rank, ControlChannel &channel) {
    channel.report_activity(fmt::format("step {}", 20 + rank));
    const Operation four{"world", "all_gather", 4}, five{"world", "exchange", 5};
    channel.report_begun(four);
    if (rank < 2) channel.report_begun(five);
    channel.report_done(four);
    reported.arrive_and_wait();
    if (rank == 0) {
      const std::string all = channel.missing(five, std::array{1u, 2u, 3u});
      EXPECT_THAT(all, HasSubstr("rank 2 (host "));
      EXPECT_THAT(all, HasSubstr("step 22, after all_gather 4"));
      EXPECT_THAT(all, HasSubstr("rank 3 (host "));
      EXPECT_THAT(all, Not(HasSubstr("rank 1")));
      EXPECT_THAT(channel.missing(five, std::array{1u}), HasSubstr("no rank is missing"));
      EXPECT_THAT(channel.missing({"world", "receive 3 from rank 1", 0}, std::array{1u}), testing::StartsWith("rank 1 (host "));
      EXPECT_THAT(channel.missing({"another group", "gather", 1}, std::array{1u}), testing::StartsWith("rank 1 (host "));
    }
    asked.arrive_and_wait();
  });
}

// What goes wrong at the rendezvous.

TEST(Rendezvous, NamesTheMissingRanksOnEveryRank) {
  const LoopbackLaunch launch(5);
  const auto channels = connect({launch.rank(0), launch.rank(2)}, impatient());
  for (const auto &channel : channels) expect_failure(channel, ErrorKind::kUnavailable, "ranks 1, 3 and 4 did not connect");
}

TEST(Rendezvous, RefusesAWrongToken) {
  const LoopbackLaunch launch(2);
  auto other = launch.rank(1);
  other.token = "q7fp3";
  const auto channels = connect({launch.rank(0), other}, impatient());
  expect_failure(channels[0], ErrorKind::kUnavailable, "rank 1 did not connect");
  EXPECT_THAT(channels[0].error().message, HasSubstr("1 connection was refused because its token was wrong"));
  expect_failure(channels[1], ErrorKind::kUsage, "token");
  for (const auto &channel : channels) {
    EXPECT_THAT(channel.error().message, Not(HasSubstr("q7fp3")));
    EXPECT_THAT(channel.error().message, Not(HasSubstr("the token of a test")));
  }
}

TEST(Rendezvous, NeedsAToken) {
  const LoopbackLaunch launch(2);
  auto rank = launch.rank(0);
  rank.token.clear();
  expect_failure(ControlChannel::connect(rank, impatient()), ErrorKind::kUsage, "no token");
}

TEST(Rendezvous, RefusesARankTwiceOnEveryRank) {
  const LoopbackLaunch launch(4);
  const auto channels = connect({launch.rank(0), launch.rank(1), launch.rank(1)}, brisk());
  for (const auto &channel : channels) expect_failure(channel, ErrorKind::kUsage, "rank 1");
}

TEST(Rendezvous, RefusesALateSecondProcessOfARankAndGoesOn) {
  const LoopbackLaunch launch(2);
  connect(all_ranks(launch, 2), short_settings(), [&](uint32_t rank, ControlChannel &channel) {
    channel.on_loss([](const std::string &what) { ADD_FAILURE() << what; });
    if (rank == 0) expect_failure(ControlChannel::connect(launch.rank(1), short_settings()), ErrorKind::kUsage, "another one is rank 1");
    ASSERT_TRUE(channel.set(fmt::format("after {}", rank), "fine"));
    EXPECT_EQ(text_of(channel.get(fmt::format("after {}", 1 - rank))), "fine");
  });
}

TEST(Rendezvous, RefusesAnotherWorldSizeOnEveryRank) {
  const LoopbackLaunch launch(3), larger(4);
  auto other = larger.rank(1);
  other.master_port = launch.port();
  const auto channels = connect({launch.rank(0), other, launch.rank(2)}, brisk());
  expect_failure(channels[0], ErrorKind::kUsage, "world size of 4, rank 0 with 3");
  expect_failure(channels[1], ErrorKind::kUsage, "world size of 3, this rank 1 with 4");
  expect_failure(channels[2], ErrorKind::kUsage, "world size of 4, rank 0 with 3");
}

TEST(Rendezvous, SaysThatARankDiedMeanwhile) {
  const LoopbackLaunch launch(3);
  std::jthread short_lived([&] {
    test::RawConnection connection(launch.port());
    OpeningBytes opening{};
    std::ranges::copy(connection.receive(opening.size()), opening.begin());
    connection.send(encode_greeting({2, 3, fresh_challenge()}, decode_opening(opening).value(), launch.rank(2).token));
    connection.receive(sizeof(ReplyBytes));
  });
  // Rank 0 waits two heartbeats for ranks that come late, to tell them too; on a busy machine a thread may begin that late.
  const auto channels = connect({launch.rank(0), launch.rank(1)}, {.heartbeat = 1s, .timeout = 20s});
  for (const auto &channel : channels) expect_failure(channel, ErrorKind::kUnavailable, "before all ranks were connected");
}

TEST(Rendezvous, SaysThatThePortIsInUse) {
  const LoopbackLaunch launch(2);
  auto rank = launch.rank(0);
  rank.listener.reset();
  expect_failure(ControlChannel::connect(rank, impatient()), ErrorKind::kUnavailable, fmt::format("port {}", launch.port()));
}

TEST(Rendezvous, SaysThatTheInterfaceIsNotOfThisMachine) {
  const LoopbackLaunch launch(2);
  for (const char *interface : {"192.0.2.1", "no address", ""}) {
    auto rank = launch.rank(0);
    rank.listener.reset();
    rank.interface = interface;
    expect_failure(ControlChannel::connect(rank, impatient()), ErrorKind::kUsage, interface);
  }
}

TEST(Rendezvous, ListensAtItsInterfaceAlone) {
  const LoopbackLaunch launch(2);
  auto rank = launch.rank(0);
  rank.listener.reset();
  rank.interface = "127.0.0.2";
  auto other = launch.rank(1);
  other.interface = "127.0.0.3";
  other.master_address = "127.0.0.2";
  const auto channels = connect({rank, other}, short_settings());  // the port of 127.0.0.1 is taken, and stays free here
  for (const auto &channel : channels) EXPECT_TRUE(channel) << channel.error().message;
}

TEST(Rendezvous, SaysThatRank0CannotBeReached) {
  auto rank = LoopbackLaunch(2).rank(1);  // its port is free again
  const auto channel = ControlChannel::connect(rank, impatient());
  expect_failure(channel, ErrorKind::kUnavailable, "cannot be reached");
  EXPECT_THAT(channel.error().message, HasSubstr("Connection refused"));
  rank.master_address = "no-such-host.invalid";
  expect_failure(ControlChannel::connect(rank, impatient()), ErrorKind::kUnavailable, "cannot be reached");
}

// Accepts one connection after another and says `text` to each.
class OtherProgram {
 public:
  OtherProgram(const LaunchEnvironment &rank_0, std::string text)
      : listener_(*rank_0.listener), thread_([this, text = std::move(text)] {
          std::vector<int> connections;
          for (int connection; (connection = ::accept(listener_, nullptr, nullptr)) >= 0;) {
            connections.push_back(connection);
            EXPECT_EQ(::send(connection, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
          }
          for (const int connection : connections) ::close(connection);
        }) {}
  ~OtherProgram() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

 private:
  int listener_;
  std::thread thread_;
};

TEST(Rendezvous, SaysThatAnotherProgramListensAtThePort) {
  const LoopbackLaunch launch(2);
  const OtherProgram mail(launch.rank(0), "220 mail.example.org ESMTP Postfix (Debian/GNU), at your service");
  expect_failure(ControlChannel::connect(launch.rank(1), short_settings()), ErrorKind::kUnavailable, "another program");
}

TEST(Rendezvous, SaysThatWhatListensAtThePortIsSilent) {
  const LoopbackLaunch launch(2);  // nobody accepts
  expect_failure(ControlChannel::connect(launch.rank(1), {.heartbeat = 200ms, .timeout = 6s}), ErrorKind::kUnavailable, "does not greet");
}

// A master that does not know the token is told nothing, and cannot make a rank believe it.
TEST(Rendezvous, DoesNotBelieveAnImpostor) {
  const LoopbackLaunch launch(2);
  const OpeningBytes opening = encode_opening(fresh_challenge());
  const ReplyBytes reply = encode_reply({Verdict::kWelcome, 2}, fresh_challenge(), fresh_challenge(), "q7fp3");
  const OtherProgram impostor(launch.rank(0), std::string(opening.begin(), opening.end()) + std::string(reply.begin(), reply.end()));
  expect_failure(ControlChannel::connect(launch.rank(1), short_settings()), ErrorKind::kUsage, "does not know this run's token");
}

TEST(ControlChannel, AStopBeforeAllAreThereEndsTheRendezvousOfAll) {
  const LoopbackLaunch launch(3);
  const std::atomic<bool> stop = true;
  std::vector<Channel> channels(2);
  std::vector<std::jthread> threads;  // rank 2 never comes
  threads.emplace_back([&] { channels[0] = ControlChannel::connect(launch.rank(0), brisk()); });
  threads.emplace_back([&] {
    ControlSettings stopped = brisk();
    stopped.stop = &stop;
    channels[1] = ControlChannel::connect(launch.rank(1), stopped);
  });
  threads.clear();
  for (const Channel &channel : channels) expect_failure(channel, ErrorKind::kStopped, "rank 1 was stopped by a signal before all ranks");
}

}  // namespace
}  // namespace trainhost
