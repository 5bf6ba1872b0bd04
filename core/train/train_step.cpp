#include "train/train_step.h"

#include <cmath>

#include <fmt/format.h>

#include "collectives/agreement.h"

namespace trainhost {

// Loss and gradient of the step, summed over all ranks.
Result<> TrainStep::measure(const StepBatch &batch, Report &report) {
  const Spread &spread = parameters_.spread();
  ExactSum weight;
  for (const TokenBatch &micro_batch : batch.micro_batches) weight.add(micro_batch.weight());
  TRAINHOST_TRY(const auto weights, sum_over(*spread.data, {weight}));
  if (weights[0].value() == 0)
    return failure(ErrorKind::kData, fmt::format("step {}: no token of the batch counts in the loss", batch.step));
  ExactSum loss, squares;
  TRAINHOST_CHECK(runner_.forward_backward(batch.micro_batches,
                                           {.loss_scale = 1 / weights[0].value(),
                                            .seed = seed_,
                                            .step = batch.step,
                                            .first = spread.data->rank(),
                                            .stride = spread.data->size()},
                                           loss));
  gradients_.add_squares(squares);
  TRAINHOST_TRY(const auto sums, sum_over(*spread.world, {loss, squares}));
  report.loss = sums[0].value();
  report.gradient_norm = std::sqrt(sums[1].value());
  return {};
}

Result<TrainStep::Report> TrainStep::run(const StepBatch &batch, Optimizer &optimizer, const ScheduleValues &schedule, TrainState &state) {
  Report report;
  TRAINHOST_CHECK(measure(batch, report));

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
  const float scale = clips ? static_cast<float>(settings_.gradient_clip / report.gradient_norm) : 1.0f;
  Device &device = *parameters_.spread().compute.device;
  Buffer<float> gradient_scale(device, 1);
  device.upload(gradient_scale.data(), &scale, sizeof scale);
  const th_update_call call{.struct_size = sizeof(th_update_call),
                            .reserved = 0,
                            .step = state.updates,
                            .gradient_scale = gradient_scale.data(),
                            .momentum = schedule.momentum,
                            .stream = device.stream(),
                            .workspace = parameters_.workspace()};
  TRAINHOST_CHECK(optimizer.update(call, parameters_.updates(gradients_, schedule.learning_rate, schedule.weight_decay_multiplier)));
  TRAINHOST_CHECK(parameters_.share_updated());
  ++state.updates;
  return report;
}

}  // namespace trainhost
