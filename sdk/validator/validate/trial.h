// The plugin under validation, and hosts that treat it in any way that the contract allows.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "plugin_host/instance.h"
#include "plugin_host/manifest.h"
#include "recipe/token_axis.h"

namespace trainhost::validator {

// How a host treats an instance, and what it saw of it. Any thread.
class HostRecord {
 public:
  uint64_t failing_allocation = 0;  // this one gives null, counted from 1; 0: none
  bool extensions = true;           // whether optional services are there
  bool smallest = false;            // whether the host's table ends where that of the plugin's minimum_abi ends
  std::atomic<bool> cancelled = false;

  std::atomic<uint64_t> allocations = 0;
  std::atomic<th_status> last_failure = TH_OK;  // of the instance's calls
  std::atomic<uint64_t> texts = 0;              // given to fail

  void *allocate(size_t bytes, size_t alignment);
  void deallocate(void *memory, size_t bytes);
  uint64_t bytes_in_use() const;
  uint64_t peak_bytes() const;
  void restart_peak();
  // What the plugin did wrong with memory, or that it kept some; called when its instance has gone.
  Result<> check_memory() const;

 private:
  mutable std::mutex mutex_;
  std::map<void *, std::pair<size_t, size_t>> blocks_;  // bytes and alignment
  uint64_t in_use_ = 0, peak_ = 0;
  std::string mistake_;
};
using SharedRecord = std::shared_ptr<HostRecord>;

class Trial {
 public:
  // The arguments outlive it. The parameters have passed check_parameters.
  Trial(const Manifest &manifest, const Parameters &parameters, uint64_t seed);

  const Manifest &manifest() const { return manifest_; }
  const TokenAxis &axis() const { return axis_; }
  uint64_t seed() const { return seed_; }

  // A new instance's half of the boundary, in a host that treats it as the record says.
  Result<std::unique_ptr<PluginInstance>> instance(SharedRecord record = std::make_shared<HostRecord>()) const;

 private:
  const Manifest &manifest_;
  const Parameters &parameters_;
  const uint64_t seed_;
  const TokenAxis axis_;
};

// The Error of a broken rule.
tl::unexpected<Error> broken(std::string found);

// Values for the parameters that have no default, in their ranges; what was chosen is shown to the user.
Parameters parameters_in_range(const Manifest &manifest);

}  // namespace trainhost::validator
