// The ranks' way to talk beside their collectives: rendezvous, heartbeats, and who is gone.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "collectives/launch_environment.h"

namespace trainhost {

struct ControlSettings {
  std::chrono::milliseconds heartbeat{5000};  // how often each rank shows that it is alive; two missed ones: it is gone
  std::chrono::milliseconds timeout{600000};  // the longest that a rank waits for another, at the rendezvous and in a collective
};

// Rank 0 listens on `interface` alone; every rank, rank 0 too, holds one authenticated connection to it. Nothing that a connection sends is
// read beyond a fixed-size greeting before its HMAC-SHA256 over a fresh challenge shows that it knows the run's token.
class ControlChannel {
 public:
  // Returns when all ranks are connected; shows who is missing while it waits. kUnavailable: the timeout (naming the missing ranks), a port
  // in use, a master that cannot be reached; kUsage: a wrong token, a rank twice, another world size. Every rank gets the error.
  static Result<std::unique_ptr<ControlChannel>> connect(const LaunchEnvironment &launch, const ControlSettings &settings);
  virtual ~ControlChannel() = default;

  // A store of small values at rank 0. get waits until the key is set; kUnavailable after the timeout.
  virtual Result<> set(const std::string &key, std::string value) = 0;
  virtual Result<std::string> get(const std::string &key) = 0;
  // The value if it is set by now.
  virtual Result<std::optional<std::string>> look(const std::string &key) = 0;

  // What this rank is doing, for the others to read when they miss it: "step 17", "in all_gather 93". Cheap; any thread.
  virtual void report_activity(std::string activity) = 0;
  // Who has not reached what this rank waits for, as a text for an error: "rank 2 (host, process 4711; last heard of 0.3 s ago at \"step
  // 17\")".
  virtual std::string missing(std::string_view activity) = 0;

  // This rank got a signal to stop: tells all others. `stop` of each rank is set soon after.
  virtual void announce_stop() = 0;

  // Says goodbye, so that the others do not take the end of this process for a failure. Called once, when the run has ended for this
  // rank; failed: its own error, which the others are told.
  virtual void leave(std::string_view failed = {}) = 0;

  // Called on the channel's own thread, at most once, when a rank is gone without having said goodbye or has left with an error: `what`
  // names it, says how that was noticed and what it was last doing. The default logs it and ends the process with the exit code of
  // kUnavailable.
  virtual void on_loss(std::function<void(const std::string &what)> handler) = 0;
  // Called on the channel's own thread when another rank announced a stop.
  virtual void on_stop(std::function<void()> handler) = 0;
};

}  // namespace trainhost
