#include "train/train_step.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "collectives/agreement.h"
#include "train/finite.h"

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

// Whose work it is that loss or gradient norm are not finite; the same on every rank.
Result<std::string> TrainStep::culprit(const Optimizer &optimizer) {
  TRAINHOST_TRY(const auto names, agreed_texts(*parameters_.spread().world, first_not_finite(parameters_.tensors_to_save())));
  const auto name = std::ranges::find_if_not(names, &std::string::empty);
  if (name == names.end())
    return fmt::format("out of forward and backward of {}, whose parameters are", describe(runner_.model().manifest()));
  return fmt::format("since update of {} left \"{}\" so", describe(optimizer.manifest()), *name);
}

Result<TrainStep::Report> TrainStep::run(const StepBatch &batch, Optimizer &optimizer, const ScheduleValues &schedule, TrainState &state) {
  Report report;
  TRAINHOST_CHECK(measure(batch, report));

  if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) {
    report.outcome = Outcome::kNotFinite;
    TRAINHOST_TRY(const std::string whose, culprit(optimizer));
    report.reason = fmt::format("loss {} and gradient norm {} are not both finite, {}", report.loss, report.gradient_norm, whose);
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
