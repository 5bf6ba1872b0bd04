#include "train/train_step.h"

#include <cmath>

#include <fmt/format.h>

namespace trainhost {

Result<TrainStep::Report> TrainStep::run(const StepBatch &batch, Optimizer &optimizer, const ScheduleValues &schedule, TrainState &state) {
  Report report;
  const double weight = batch.weight();
  if (weight == 0) return failure(ErrorKind::kData, fmt::format("step {}: no token of the batch counts in the loss", batch.step));
  parameters_.reset_gradients();
  for (uint32_t i = 0; i < batch.micro_batches.size(); ++i) {
    TRAINHOST_TRY(const double loss, runner_.forward_backward(batch.micro_batches[i], 1 / weight, seed_, batch.step, i));
    report.loss += loss;
  }
  report.gradient_norm = parameters_.gradient_norm();

  if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) {
    report.outcome = Outcome::kNotFinite;
    report.reason = fmt::format("loss {} and gradient norm {} are not both finite", report.loss, report.gradient_norm);
    return report;
  }
  if (settings_.on_spike == "skip") {
    report.reason = state.spikes.judge(report.loss, report.gradient_norm);
    if (!report.reason.empty()) {
      report.outcome = Outcome::kSpike;
      return report;
    }
  }

  const bool clips = settings_.gradient_clip > 0 && report.gradient_norm > settings_.gradient_clip;
  const float gradient_scale = clips ? static_cast<float>(settings_.gradient_clip / report.gradient_norm) : 1.0f;
  const th_update_call call{.struct_size = sizeof(th_update_call),
                            .reserved = 0,
                            .step = state.updates,
                            .gradient_scale = &gradient_scale,
                            .momentum = schedule.momentum,
                            .stream = nullptr};
  TRAINHOST_CHECK(optimizer.update(call, parameters_.updates(schedule.learning_rate, schedule.weight_decay_multiplier)));
  ++state.updates;
  return report;
}

}  // namespace trainhost
