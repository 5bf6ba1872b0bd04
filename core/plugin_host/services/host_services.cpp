#include "plugin_host/services/host_services.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include <fmt/format.h>

#include "base/log.h"
#include "device/thread_pool.h"
#include "plugin_host/plugin_call.h"
#include "plugin_host/services/config.h"
#include "plugin_host/services/failure.h"
#include "plugin_host/services/rng.h"

namespace trainhost {
namespace {

constexpr size_t kGreatestAlignment = 4096;

std::string_view view(th_string text) { return {text.data, text.length}; }

const void *find_extension(const th_host *, th_string id) noexcept { return view(id) == TH_EXT_RNG ? &rng_service() : nullptr; }

}  // namespace

HostServices::HostServices(std::string plugin_name, PluginEvents events)
    : th_host{}, plugin_name_(std::move(plugin_name)), events_(std::move(events)) {
  struct_size = sizeof(th_host);
  abi_major = TRAINHOST_ABI_MAJOR;
  abi_minor = TRAINHOST_ABI_MINOR;
  set_messages();
  set_memory();
  set_work();
  set_config_slots(*this);
  get_extension = find_extension;
}

HostServices::~HostServices() {
  if (const int64_t bytes = bytes_in_use_; bytes != 0)
    log_warning(fmt::format("{}: ended with {} bytes not given back", plugin_name_, bytes));
}

void HostServices::set_messages() {
  fail = [](const th_host *host, th_status code, th_string text) noexcept {
    record_failure(host, code, view(text));
    return code;
  };
  log = [](const th_host *host, int32_t level, th_string text) noexcept {
    PluginCall::show_life();
    trainhost::log(static_cast<LogLevel>(std::clamp(level, 0, 3)), fmt::format("{}: {}", of(host).plugin_name_, view(text)));
  };
  metric = [](const th_host *host, th_string name, double value) noexcept {
    const HostServices &self = of(host);
    if (self.events_.metric) self.events_.metric(fmt::format("{}/{}", self.plugin_name_, view(name)), value);
  };
  progress = [](const th_host *host, th_string what, uint64_t done, uint64_t total) noexcept {
    PluginCall::show_life();
    const HostServices &self = of(host);
    if (self.events_.progress) self.events_.progress(view(what), done, total);
  };
}

void HostServices::set_memory() {
  allocate = [](const th_host *host, size_t bytes, size_t alignment, void *) noexcept -> void * {
    if (bytes > PTRDIFF_MAX || !std::has_single_bit(alignment) || alignment > kGreatestAlignment) return nullptr;
    void *memory = of(host).events_.device->allocate(bytes, alignment);
    if (memory != nullptr) of(host).bytes_in_use_ += static_cast<int64_t>(bytes);
    return memory;
  };
  deallocate = [](const th_host *host, void *memory, size_t bytes, void *) noexcept {
    if (memory == nullptr) return;
    of(host).events_.device->deallocate(memory, bytes);
    of(host).bytes_in_use_ -= static_cast<int64_t>(bytes);
  };
}

void HostServices::set_work() {
  parallel_for = [](const th_host *, int64_t count, int64_t grain, void (*body)(void *, int64_t, int64_t), void *context) noexcept {
    trainhost::parallel_for(count, std::max<int64_t>(grain, 1), [&, place = PluginCall::place()](int64_t begin, int64_t end) {
      const PluginCall piece(place);
      body(context, begin, end);
    });
  };
  cancelled = [](const th_host *host) noexcept -> int32_t {
    PluginCall::show_life();
    const auto *flag = of(host).events_.cancelled;
    return flag != nullptr && flag->load(std::memory_order_relaxed) ? 1 : 0;
  };
}

}  // namespace trainhost
