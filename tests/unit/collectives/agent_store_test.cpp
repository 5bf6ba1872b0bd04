// Ranks that torchrun has started: its agent hosts a TCPStore, of which all ranks are clients.
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "collectives/join.h"
#include "support/launched_ranks.h"

namespace trainhost {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

c10::intrusive_ptr<c10d::TCPStore> agent_store() {
  c10d::TCPStoreOptions options;
  options.port = 0;
  options.isServer = true;
  options.waitWorkers = false;
  return c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
}

LaunchEnvironment torchrun_rank(uint32_t rank, uint16_t port, uint32_t restart_count) {
  auto launch = test::loopback_rank(rank, 2, port);
  launch.launcher = Launcher::kTorchrun;
  launch.token.clear();
  launch.agent_store = true;
  launch.restart_count = restart_count;
  return launch;
}

TEST(AgentStore, TellsRanksWhereRank0Listens) {
  const auto store = agent_store();
  for (const uint32_t restart_count : {0, 1}) {  // what the store still knows of the first start does no harm
    std::vector<std::jthread> threads;
    for (uint32_t rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        if (rank == 0) std::this_thread::sleep_for(200ms);
        const auto launch = torchrun_rank(rank, store->getPort(), restart_count);
        const auto channel = ControlChannel::connect(launch, test::short_settings());
        ASSERT_TRUE(channel) << channel.error().message;
        {
          const auto group = join(launch, test::short_settings(), **channel);
          ASSERT_TRUE(group) << group.error().message;
          const auto all = (*group)->gather(std::vector<double>{rank + 0.5});
          ASSERT_TRUE(all) << all.error().message;
          EXPECT_EQ(*all, (std::vector<double>{0.5, 1.5}));
        }
        (*channel)->leave();
      });
    }
  }
}

TEST(AgentStore, OfNobodyCannotBeReached) {
  const auto channel = ControlChannel::connect(torchrun_rank(1, test::free_port(), 0), {.heartbeat = 200ms, .timeout = 1s});
  ASSERT_FALSE(channel);
  EXPECT_EQ(channel.error().kind, ErrorKind::kUnavailable);
  EXPECT_THAT(channel.error().message, HasSubstr("torchrun's store at 127.0.0.1"));
}

TEST(AgentStore, WithoutRank0IsSaidToLackIt) {
  const auto store = agent_store();
  const auto channel = ControlChannel::connect(torchrun_rank(1, store->getPort(), 0), {.heartbeat = 200ms, .timeout = 1s});
  ASSERT_FALSE(channel);
  EXPECT_THAT(channel.error().message, HasSubstr("rank 0 has not said in torchrun's store"));
}

}  // namespace
}  // namespace trainhost
