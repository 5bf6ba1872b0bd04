// A learning-rate scheduler as a class:
//   Scheduler(const Host &, const Config &, const th_progress &run);
//   void values(const th_progress &, th_schedule_values &out) const;   // out comes preset, see kinds/lr_scheduler.h
#pragma once

#include "../kinds/lr_scheduler.h"
#include "plugin.hpp"

namespace trainhost::sdk {
inline namespace [[gnu::visibility("hidden")]] v1_0 {

  template <class Scheduler>
  constexpr th_lr_scheduler_api lr_scheduler_table = {
      .struct_size = sizeof(th_lr_scheduler_api),
      .reserved = 0,
      .create = [](const th_host *host, const th_config *config, const th_progress *run, th_lr_scheduler **out) -> th_status {
        return Instance<Scheduler>::create(host, out, Host(host), Config(host, config), *run);
      },
      .destroy = [](th_lr_scheduler *self) { Instance<Scheduler>::destroy(self); },
      .values = [](const th_lr_scheduler *self, const th_progress *progress, th_schedule_values *out) -> th_status {
        auto *instance = Instance<Scheduler>::of(self);
        return guard(instance->host, [&] { instance->object.values(*progress, *out); });
      },
      .get_extension = nullptr,
  };

}  // namespace v1_0
}  // namespace trainhost::sdk
