// The ranks' way to talk beside their collectives: rendezvous, heartbeats, and who is gone.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "collectives/launch_environment.h"

namespace trainhost {

struct ControlSettings {
  std::chrono::milliseconds heartbeat{5000};  // how often each rank shows that it is alive; two missed ones: it is gone
  std::chrono::milliseconds timeout{600000};  // the longest that a rank waits for another, at the rendezvous and in a collective
  const std::atomic<bool> *stop = nullptr;    // set by a signal: ends the rendezvous of all ranks with kStopped
};

// One operation of a process group, as all of the group's ranks number it.
struct Operation {
  std::string group;
  std::string name;     // "all_gather"
  uint64_t number = 0;  // from 1 within the group; 0: a message between two ranks, which the others do not count
};
inline std::string describe(const Operation &operation) {  // "all_gather 93"
  return operation.number == 0 ? operation.name : operation.name + " " + std::to_string(operation.number);
}

// Rank 0 listens on `interface` alone; every rank, rank 0 too, holds one authenticated connection to it. Nothing that a connection sends is
// read beyond a fixed-size greeting before its HMAC-SHA256 over a fresh challenge shows that it knows the run's token. The run's secrets
// and weights are not encrypted on the way: the network between the machines must be the user's own.
class ControlChannel {
 public:
  // Returns when all ranks are connected; rank 0 shows who is missing while it waits. kUnavailable: the timeout (naming the missing ranks),
  // a port in use, a master that cannot be reached; kUsage: a wrong token, a rank twice, another world size; kStopped: settings.stop is
  // set on any rank. Every rank gets the error. A process that trains alone gets a channel of its own, without a socket.
  static Result<std::unique_ptr<ControlChannel>> connect(const LaunchEnvironment &launch, const ControlSettings &settings);
  virtual ~ControlChannel() = default;

  // A store of small values (up to 1 MB) at rank 0. get waits until the key is set; kUnavailable after the timeout or when a rank is lost.
  virtual Result<> set(const std::string &key, std::string value) = 0;
  virtual Result<std::string> get(const std::string &key) = 0;
  // The value if it is set by now.
  virtual Result<std::optional<std::string>> look(const std::string &key) = 0;

  // What this rank is doing, for the others to read when they miss it: "step 17". Cheap; any thread.
  virtual void report_activity(std::string activity) = 0;
  // Likewise for process groups: an operation has begun, is being waited for, is done. Cheap; any thread.
  virtual void report_begun(const Operation &operation) = 0;
  virtual void report_awaited(const Operation &operation) = 0;
  virtual void report_done(const Operation &operation) = 0;
  // Which of the ranks are gone or have not begun this operation, as a text for an error: "rank 2 (host node7, process 4711, last heard of
  // 0.3 s ago: step 17, after all_gather 92)". Asks every rank, and waits up to two heartbeats for their answers.
  virtual std::string missing(const Operation &operation, std::span<const uint32_t> ranks) = 0;

  // This rank got a signal to stop: tells all others. Not for signal handlers.
  virtual void announce_stop() = 0;

  // Says goodbye, so that the others do not take the end of this process for a failure. Called once, when the run has ended for this
  // rank; failed: its own error, which the others are told. Rank 0 waits here until the others have left, up to the timeout.
  virtual void leave(std::string_view failed = {}) = 0;

  // Called on the channel's own thread, at most once, when a rank is gone without having said goodbye or has left with an error: `what`
  // names it, says how that was noticed and what it was last doing. The default logs it together with this rank's own activity, and ends
  // the process with the exit code of kUnavailable, even if the thread that computes hangs.
  virtual void on_loss(std::function<void(const std::string &what)> handler) = 0;
  // Called on the channel's own thread when another rank announced a stop; at once if it has done so before.
  virtual void on_stop(std::function<void()> handler) = 0;
};

}  // namespace trainhost
