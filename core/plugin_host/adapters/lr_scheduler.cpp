#include "plugin_host/adapters/lr_scheduler.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "plugin_host/plugin_call.h"

namespace trainhost {

Result<std::unique_ptr<LrScheduler>> LrScheduler::create(std::unique_ptr<PluginInstance> plugin, const th_progress &run) {
  std::unique_ptr<LrScheduler> scheduler(new LrScheduler);
  scheduler->plugin_ = std::move(plugin);
  const PluginInstance &instance = *scheduler->plugin_;
  scheduler->api_ = static_cast<const th_lr_scheduler_api *>(instance.table());
  const PluginCall call(instance.manifest(), "create");
  TRAINHOST_CHECK(instance.check(scheduler->api_->create(instance.host(), instance.config(), &run, &scheduler->self_), "create"));
  if (scheduler->self_ == nullptr) return instance.broken_contract("create", "succeeded without giving an instance");
  return scheduler;
}

LrScheduler::~LrScheduler() {
  if (self_ == nullptr) return;
  const PluginCall call(plugin_->manifest(), "destroy");
  api_->destroy(self_);
}

Result<ScheduleValues> LrScheduler::values(const th_progress &progress) const {
  th_schedule_values values{.struct_size = sizeof(th_schedule_values),
                            .reserved = 0,
                            .learning_rate = 0,
                            .weight_decay_multiplier = 1,
                            .momentum = std::numeric_limits<double>::quiet_NaN(),
                            .stage = {}};
  const PluginCall call(plugin_->manifest(), "values");
  TRAINHOST_CHECK(plugin_->check(api_->values(self_, &progress, &values), "values"));
  const auto refuse = [&](std::string_view what, double value, std::string_view expected) {
    return plugin_->broken_contract("values", fmt::format("{} is {} at step {}, expected {}", what, value, progress.step, expected));
  };
  if (!std::isfinite(values.learning_rate) || values.learning_rate < 0) {
    return refuse("learning_rate", values.learning_rate, "a finite number of at least 0");
  }
  if (!std::isfinite(values.weight_decay_multiplier) || values.weight_decay_multiplier < 0) {
    return refuse("weight_decay_multiplier", values.weight_decay_multiplier, "a finite number of at least 0");
  }
  if (std::isinf(values.momentum)) return refuse("momentum", values.momentum, "a finite number, or NaN for the optimizer's own");
  return ScheduleValues{
      values.learning_rate, values.weight_decay_multiplier, values.momentum,
      std::string(values.stage.data != nullptr ? values.stage.data : "", values.stage.data != nullptr ? values.stage.length : 0)};
}

}  // namespace trainhost
