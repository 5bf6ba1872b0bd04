// The th_host table that one plugin instance is given.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>

#include "device/device.h"
#include "trainhost/host.h"

namespace trainhost {

// What the run does with what plugins say. Empty functions: nothing. All may be called from any thread.
struct PluginEvents {
  std::function<void(std::string_view name, double value)> metric;  // name: "<plugin name>/<name>"
  std::function<void(std::string_view what, uint64_t done, uint64_t total)> progress;
  const std::atomic<bool> *cancelled = nullptr;
  Device *device = &cpu_device();  // whose memory allocate gives
};

// Stays where it is: plugins keep the pointer. Slots may be called from any thread.
class HostServices : public th_host {
 public:
  HostServices(std::string plugin_name, PluginEvents events);
  HostServices(const HostServices &) = delete;
  HostServices &operator=(const HostServices &) = delete;
  // Warns when the plugin kept memory.
  ~HostServices();

 private:
  static const HostServices &of(const th_host *host) { return *static_cast<const HostServices *>(host); }
  void set_messages();
  void set_memory();
  void set_work();

  std::string plugin_name_;
  PluginEvents events_;
  mutable std::atomic<int64_t> bytes_in_use_ = 0;
};

}  // namespace trainhost
