#include "collectives/control_channel.h"

#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "base/log.h"
#include "collectives/c10d_module.h"
#include "collectives/control/control_client.h"
#include "collectives/control/control_server.h"
#include "collectives/control/greeting.h"
#include "collectives/control/single_process_channel.h"

namespace trainhost {
namespace {

using Channel = Result<std::unique_ptr<ControlChannel>>;
using Clock = std::chrono::steady_clock;

Result<> check(const LaunchEnvironment &launch) {
  if (launch.rank >= launch.world_size) {
    return failure(ErrorKind::kUsage, fmt::format("rank {} does not exist in a world of {}", launch.rank, launch.world_size));
  }
  if (launch.world_size > 1 && !launch.agent_store && launch.token.empty()) {
    return failure(ErrorKind::kUsage, "the run has no token, by which its ranks know each other; start all ranks with the same one");
  }
  return {};
}

Channel open_as_rank_0(const LaunchEnvironment &launch, const ControlSettings &settings, const std::function<Result<>(uint16_t)> &publish) {
  TRAINHOST_TRY(auto server, ControlServer::listen(launch, settings));
  const uint16_t port = server->port();
  TRAINHOST_CHECK(publish(port));
  return connect_to_master(launch, settings, {launch.interface, port}, std::move(server));
}

// torchrun gives no token and no port of ours, but a store: rank 0 leaves there where it listens and the token that it has drawn.
std::string agent_key(const LaunchEnvironment &launch) { return fmt::format("trainhost/{}/control", launch.restart_count); }

Result<std::string> wait_for_rank_0(AgentStore &store, const LaunchEnvironment &launch, const ControlSettings &settings) {
  const auto begun = Clock::now();
  auto progress = begun + std::chrono::seconds(10);
  while (true) {
    TRAINHOST_TRY(const auto place, store.look(agent_key(launch)));
    if (place) return *place;
    if (settings.stop != nullptr && *settings.stop) return failure(ErrorKind::kStopped, "stopped by a signal; start again to go on");
    const auto now = Clock::now();
    const auto waited = std::chrono::duration_cast<std::chrono::seconds>(now - begun).count();
    if (now - begun > settings.timeout) {
      return failure(ErrorKind::kUnavailable,
                     fmt::format("rank 0 has not said in torchrun's store at {} port {} where it listens (waited {} s)",
                                 launch.master_address, launch.master_port, waited));
    }
    if (now >= progress) {
      progress += std::chrono::seconds(10);
      log_info(fmt::format("waiting for rank 0 to say where it listens ({} s)", waited));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

Channel connect_through_agent(LaunchEnvironment launch, const ControlSettings &settings) {
  TRAINHOST_TRY(const C10dModule *module, c10d_module());
  TRAINHOST_TRY(const auto store, module->open_agent_store(launch, settings.timeout));
  if (launch.rank == 0) {
    launch.token = fresh_token();
    launch.master_port = 0;  // the store's is taken
    return open_as_rank_0(launch, settings, [&](uint16_t port) {
      return store->set(agent_key(launch), fmt::format("{} {} {}", launch.interface, port, launch.token));
    });
  }
  TRAINHOST_TRY(const std::string place, wait_for_rank_0(*store, launch, settings));
  MasterPlace master;
  std::istringstream(place) >> master.address >> master.port >> launch.token;
  return connect_to_master(launch, settings, master, nullptr);
}

}  // namespace

Channel ControlChannel::connect(const LaunchEnvironment &launch, const ControlSettings &settings) {
  if (launch.world_size == 1) return single_process_channel();
  TRAINHOST_CHECK(check(launch));
  if (launch.agent_store) return connect_through_agent(launch, settings);
  if (launch.rank == 0) return open_as_rank_0(launch, settings, [](uint16_t) { return Result<>(); });
  return connect_to_master(launch, settings, {launch.master_address, launch.master_port}, nullptr);
}

}  // namespace trainhost
