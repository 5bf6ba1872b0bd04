#include "support/launched_ranks.h"

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collectives/join.h"

namespace trainhost::test {
namespace {

template <class Value>
Value expect(Result<Value> result) {
  if (result) return *std::move(result);
  std::fprintf(stderr, "a rank cannot be launched: %s\n", result.error().message.c_str());
  std::abort();
}

}  // namespace

LoopbackLaunch::LoopbackLaunch(uint32_t world_size) : world_size_(world_size), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(listener_, reinterpret_cast<sockaddr *>(&address), size) != 0 || ::listen(listener_, 128) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr *>(&address), &size) != 0) {
    std::perror("a port of the loopback");
    std::abort();
  }
  port_ = ntohs(address.sin_port);
}

LoopbackLaunch::~LoopbackLaunch() { ::close(listener_); }

LaunchEnvironment LoopbackLaunch::rank(uint32_t rank) const {
  LaunchEnvironment launch = loopback_rank(rank, world_size_, port_);
  if (rank == 0) launch.listener = ::dup(listener_);
  return launch;
}

LaunchEnvironment loopback_rank(uint32_t rank, uint32_t world_size, uint16_t port) {
  LaunchEnvironment launch;
  launch.launcher = Launcher::kTrainhost;
  launch.rank = launch.local_rank = rank;
  launch.world_size = launch.local_world_size = world_size;
  launch.master_port = port;
  launch.interface = "127.0.0.1";
  launch.token = "the token of a test";
  return launch;
}

uint16_t free_port() { return LoopbackLaunch(1).port(); }

ControlSettings short_settings() { return {.heartbeat = std::chrono::seconds(1), .timeout = std::chrono::seconds(30)}; }

void run_gloo_ranks(uint32_t size, const std::function<void(ControlChannel &channel, ProcessGroup &group)> &body,
                    const ControlSettings &settings) {
  const LoopbackLaunch launch(size);
  std::vector<std::jthread> threads;
  for (uint32_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      const auto environment = launch.rank(rank);
      const auto channel = expect(ControlChannel::connect(environment, settings));
      {
        const auto group = expect(join(environment, settings, *channel));
        body(*channel, *group);
      }
      channel->leave();
    });
  }
}

}  // namespace trainhost::test
