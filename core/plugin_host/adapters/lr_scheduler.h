// A learning-rate scheduler plugin as an object.
#pragma once

#include <memory>
#include <string>

#include "plugin_host/instance.h"
#include "trainhost/kinds/lr_scheduler.h"

namespace trainhost {

struct ScheduleValues {
  double learning_rate = 0;
  double weight_decay_multiplier = 1;
  double momentum = 0;  // NaN: the optimizer's own
  std::string stage;
};

class LrScheduler {
 public:
  // run: the axis's totals with step and tokens 0.
  static Result<std::unique_ptr<LrScheduler>> create(std::unique_ptr<PluginInstance> plugin, const th_progress &run);
  ~LrScheduler();

  // A learning rate that is negative or not finite is kPluginContract. Any thread.
  Result<ScheduleValues> values(const th_progress &progress) const;

 private:
  LrScheduler() = default;
  std::unique_ptr<PluginInstance> plugin_;
  const th_lr_scheduler_api *api_ = nullptr;
  th_lr_scheduler *self_ = nullptr;
};

}  // namespace trainhost
