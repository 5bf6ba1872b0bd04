#include "train/train_step.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "collectives/agreement.h"
#include "train/finite.h"

namespace trainhost {
namespace {

// Two sums for each source: of the losses of its counted tokens, and of these tokens. Each sequence, which is of one source and never cut,
// is summed in the order of its tokens, so that the sums do not depend on how sequences are cut into micro-batches and over ranks.
std::vector<ExactSum> sums_by_source(const StepBatch &batch, const std::vector<std::vector<float>> &token_losses, size_t sources) {
  std::vector<ExactSum> sums(2 * sources);
  for (size_t i = 0; i < token_losses.size(); ++i) {  // none where there is not the last unit
    const TokenBatch &micro_batch = batch.micro_batches[i];
    for (size_t sequence = 0; sequence < micro_batch.sequences; ++sequence) {
      double loss = 0, counted = 0;
      for (size_t at = sequence * micro_batch.sequence_length; at < (sequence + 1) * micro_batch.sequence_length; ++at) {
        const double weight = micro_batch.loss_weights[at];
        if (weight == 0) continue;
        loss += weight * token_losses[i][at];
        counted += weight;
      }
      const size_t source = micro_batch.samples[sequence].source;
      sums[2 * source].add(loss);
      sums[2 * source + 1].add(counted);
    }
  }
  return sums;
}

}  // namespace

// Loss and gradient of the step, summed over all ranks; of each source too, when the mixer wants to know.
Result<> TrainStep::measure(const StepBatch &batch, TrainState &state, Report &report) {
  const Spread &spread = parameters_.spread();
  ExactSum weight;
  for (const TokenBatch &micro_batch : batch.micro_batches) weight.add(micro_batch.weight());
  TRAINHOST_TRY(const auto weights, sum_over(*spread.data, {weight}));
  if (weights[0].value() == 0)
    return failure(ErrorKind::kData, fmt::format("step {}: no token of the batch counts in the loss", batch.step));
  ExactSum squares;
  ModelRunner::StepLosses losses{.sum = {}, .by_token = state.mix.has_value(), .of_tokens = {}};
  TRAINHOST_CHECK(runner_.forward_backward(batch.micro_batches,
                                           {.loss_scale = 1 / weights[0].value(),
                                            .seed = seed_,
                                            .step = batch.step,
                                            .first = spread.data->rank(),
                                            .stride = spread.data->size()},
                                           losses));
  gradients_.add_squares(squares);
  std::vector<ExactSum> terms{losses.sum, squares};
  const size_t sources = state.mix ? state.mix->losses.size() : 0;
  std::ranges::copy(sums_by_source(batch, losses.of_tokens, sources), std::back_inserter(terms));
  TRAINHOST_TRY(const auto sums, sum_over(*spread.world, terms));
  report.loss = sums[0].value();
  report.gradient_norm = std::sqrt(sums[1].value());
  for (size_t i = 0; i < sources; ++i) state.mix->add(i, sums[2 + 2 * i].value(), static_cast<uint64_t>(sums[3 + 2 * i].value()));
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
  TRAINHOST_CHECK(measure(batch, state, report));

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
