// Ranks on this machine's loopback, as a launcher would start them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "collectives/control_channel.h"
#include "collectives/process_group.h"

namespace trainhost::test {

// A port of the loopback that is this program's own until the launch has ended.
class LoopbackLaunch {
 public:
  explicit LoopbackLaunch(uint32_t world_size);
  ~LoopbackLaunch();
  LoopbackLaunch(const LoopbackLaunch &) = delete;
  LoopbackLaunch &operator=(const LoopbackLaunch &) = delete;

  uint16_t port() const { return port_; }
  // Rank 0 inherits the listening socket; it can do so once.
  LaunchEnvironment rank(uint32_t rank) const;

 private:
  uint32_t world_size_;
  int listener_ = -1;
  uint16_t port_ = 0;
};

// A rank of a world on this machine; rank 0 listens by itself.
LaunchEnvironment loopback_rank(uint32_t rank, uint32_t world_size, uint16_t port);

// Nobody listened at this port of the loopback a moment ago.
uint16_t free_port();

// Heartbeats of 1 s, so that a busy machine takes nobody for lost, and waits of 30 s.
ControlSettings short_settings();

// Runs body(channel, group) on `size` threads, each a rank over gloo with a control channel of its own; all leave at the end.
void run_gloo_ranks(uint32_t size, const std::function<void(ControlChannel &channel, ProcessGroup &group)> &body,
                    const ControlSettings &settings = short_settings());

}  // namespace trainhost::test
