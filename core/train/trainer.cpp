#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "collectives/agreement.h"
#include "plugin_host/plugin_call.h"
#include "train/finite.h"

namespace trainhost {
namespace {

constexpr uint32_t kNotFiniteAtMost = 10;       // in a row, before the run gives up
constexpr uint32_t kRollbacksAtMost = 5;        // per run
constexpr uint64_t kRollbackSkipsAtMost = 100;  // steps before the fault whose batches are passed over after going back

tl::unexpected<Error> stopped(uint64_t step) {
  return failure(ErrorKind::kStopped, fmt::format("stopped by a signal after step {}; saved; start again to go on", step));
}

}  // namespace

Trainer::Trainer(Parts parts)
    : parts_(std::move(parts)), step_(parts_.runner, parts_.parameters, parts_.gradients, parts_.recipe.training, parts_.recipe.run.seed) {
  if (!parts_.recipe.checkpoint.asynchronous) return;
  background_.emplace(parts_.checkpoints, *parts_.parameters.spread().world, [](const SavedCheckpoint &saved) {
    log_info(fmt::format("saved {} in {:.2f} s, of which training waited {:.2f} s", saved.path, saved.seconds, saved.stalled_seconds));
  });
}

Result<> Trainer::run(TrainState &state) {
  state_ = &state;
  const bool late = state.step == parts_.axis.total_steps() && !done();
  for (TrainObserver *observer : parts_.observers) TRAINHOST_CHECK(observer->begin(state));  // at the evaluation point, as restored
  while (state.step < parts_.axis.total_steps()) {
    const PluginStep named(state.step);
    TRAINHOST_CHECK(move_to(ParameterPoint::kTraining));
    for (TrainObserver *observer : parts_.observers) observer->before_step(state);
    TRAINHOST_TRY(const StepBatch batch, next_batch());
    TRAINHOST_TRY(const StepReport report, train(batch));
    for (TrainObserver *observer : parts_.observers) {
      if (observer->pending(state)) TRAINHOST_CHECK(move_to(ParameterPoint::kEvaluation));
      TRAINHOST_CHECK(observer->after_step(state, report));
    }
    if (background_) TRAINHOST_CHECK(background_->poll());
    TRAINHOST_TRY(const bool stop, any_of(*parts_.parameters.spread().world, parts_.stop && may_stop()));
    if (checkpoint_due() || stop) TRAINHOST_CHECK(save());
    if (background_ && (stop || state.step == parts_.axis.total_steps())) TRAINHOST_CHECK(background_->finish());
    if (stop && !done()) return stopped(state.step);
  }
  if (!done()) return stopped(state.step);
  if (late) TRAINHOST_CHECK(save());  // so that the next start knows that nothing is left
  return background_ ? background_->finish() : Result<>();
}

// A prefetcher reads as far as batch and mix are settled.
Result<StepBatch> Trainer::next_batch() {
  if (!prefetcher_ || state_->step == prefetched_until_) {
    prefetcher_.reset();
    TRAINHOST_TRY(const uint64_t batch_until, parts_.growth.enter(*state_));
    TRAINHOST_TRY(const uint64_t mix_until, parts_.rounds.enter(*state_));
    prefetched_until_ = std::min(batch_until, mix_until);
    const ProcessGroup &data = *parts_.parameters.spread().data;
    const Share share{.index = data.rank(), .of = data.size()};
    prefetcher_ = std::make_unique<Prefetcher>(parts_.stream, state_->step, prefetched_until_, kStepsAhead, share);
  }
  return prefetcher_->next();
}

Result<StepReport> Trainer::train(const StepBatch &batch) {
  const auto started = std::chrono::steady_clock::now();
  const th_progress progress = parts_.axis.progress(batch.step);
  TRAINHOST_TRY(ScheduleValues schedule, parts_.phases.schedulers[progress.phase]->values(progress));
  schedule.learning_rate *= parts_.growth.learning_rate_factor(batch.step);
  TrainStep::Report outcome;
  const bool passed_over = state_->is_skipped(batch.step);
  if (passed_over) {
    outcome.loss = outcome.gradient_norm = std::numeric_limits<double>::quiet_NaN();
  } else {
    TRAINHOST_TRY(outcome, step_.run(batch, *parts_.phases.optimizers[progress.phase], schedule, *state_));
  }
  state_->step = batch.step + 1;
  parts_.growth.learn(*state_, progress.phase, outcome.loss);
  if (!passed_over) TRAINHOST_CHECK(react_to(outcome));

  StepReport report;
  report.step = batch.step + 1;
  report.tokens = parts_.axis.tokens_at_step(batch.step + 1);
  report.batch_tokens = parts_.axis.shape_of_step(batch.step).tokens();
  report.phase = parts_.recipe.phases[progress.phase].name;
  report.stage = schedule.stage;
  report.loss = outcome.loss;
  report.learning_rate = schedule.learning_rate;
  report.gradient_norm = outcome.gradient_norm;
  report.skipped = passed_over || outcome.outcome != TrainStep::Outcome::kUpdated;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  report.tokens_per_second = static_cast<double>(report.batch_tokens) / report.seconds;
  if (peak_flops_per_second_ > 0) {
    report.utilisation = 3 * parts_.model.forward_flops_per_token() * report.tokens_per_second / peak_flops_per_second_;
  } else if (peak_flops_per_second_ < 0) {  // after the first step, so that it does not come later for this
    TRAINHOST_TRY(peak_flops_per_second_, parts_.model.measure_peak());
  }
  report.peak_memory = peak_resident_bytes();
  return report;
}

// What all ranks find alike, one of them says.
void Trainer::warn(const std::string &text) const {
  if (parts_.parameters.spread().world->rank() == 0) log_warning(text);
}

Result<> Trainer::react_to(const TrainStep::Report &outcome) {
  if (outcome.outcome == TrainStep::Outcome::kSpike) warn(fmt::format("step {} skipped: {}", state_->step, outcome.reason));
  if (outcome.outcome != TrainStep::Outcome::kNotFinite) {
    not_finite_in_a_row_ = 0;
    return {};
  }
  const std::string &policy = parts_.recipe.training.on_nan;
  if (policy == "stop" || ++not_finite_in_a_row_ > kNotFiniteAtMost) {
    return failure(ErrorKind::kPlugin, fmt::format("step {}: {}; the last checkpoint is as it was (training.on_nan = \"{}\")", state_->step,
                                                   outcome.reason, policy));
  }
  if (policy == "rollback") return roll_back(outcome.reason);
  warn(fmt::format("step {} skipped: {}", state_->step, outcome.reason));
  return {};
}

// Goes back to the newest checkpoint and passes over the batches that led to the fault; without a checkpoint the step is skipped.
Result<> Trainer::roll_back(const std::string &reason) {
  const uint64_t fault = state_->step;
  if (background_) TRAINHOST_CHECK(background_->finish());
  auto tensors = parts_.parameters.tensors_to_load();
  // Whatever differs in them was accepted when the run was started.
  TRAINHOST_TRY(const auto saved, parts_.checkpoints.load_newest(tensors, {}));
  if (!saved) {
    warn(fmt::format("step {} skipped: {}; there is no checkpoint to go back to", fault, reason));
    return {};
  }
  auto skipped = state_->skipped;
  const uint32_t rollbacks = state_->rollbacks + 1;
  if (rollbacks > kRollbacksAtMost) {
    return failure(ErrorKind::kPlugin,
                   fmt::format("step {}: {}; again, after going back {} times: lower the learning rate or look at the data", fault, reason,
                               kRollbacksAtMost));
  }
  parts_.parameters.loaded();
  point_ = ParameterPoint::kEvaluation;
  TRAINHOST_TRY(*state_, TrainState::from_json(saved->trainer_state, saved->step));
  state_->rollbacks = rollbacks;
  state_->skipped = std::move(skipped);
  state_->skipped.push_back({std::max(saved->step, fault - std::min(fault, kRollbackSkipsAtMost)), fault});
  warn(fmt::format("step {}: {}; back to the checkpoint of step {}, passing over steps {} to {}", fault, reason, saved->step,
                   state_->skipped.back().first + 1, fault));
  prefetcher_.reset();  // the next batches are those of the step gone back to
  return {};
}

// Nothing is left to do, no evaluation and no sample either.
bool Trainer::done() const {
  return state_->step == parts_.axis.total_steps() &&
         std::ranges::none_of(parts_.observers, [&](const TrainObserver *observer) { return observer->pending(*state_); });
}

bool Trainer::may_stop() const {
  return std::ranges::none_of(parts_.observers, [](const TrainObserver *observer) { return observer->needs_next_step(); });
}

bool Trainer::checkpoint_due() const {
  const uint64_t step = state_->step;
  return step == parts_.axis.total_steps() || !label().empty() || parts_.axis.due_at(parts_.recipe.checkpoint.every, step);
}

std::string Trainer::label() const {
  for (size_t i = 0; i < parts_.recipe.phases.size(); ++i) {
    if (parts_.axis.phases()[i].end_step == state_->step) return "end of " + parts_.recipe.phases[i].name;
  }
  return "";
}

// Before the first update all optimizers have one point, as some always have.
Result<> Trainer::move_to(ParameterPoint point) {
  if (std::exchange(point_, point) == point || state_->updates == 0) return {};
  Optimizer &optimizer = *parts_.phases.optimizers[parts_.axis.progress(state_->step - 1).phase];
  return optimizer.has_evaluation_point() ? parts_.parameters.move_to(point, optimizer) : Result<>();
}

// A checkpoint from which no run can go on must not take the place of a good one.
Result<> Trainer::check_finite(std::span<const NamedTensor> tensors) const {
  const std::string name = first_not_finite(tensors);
  return agreed(
      *parts_.parameters.spread().world,
      name.empty()
          ? Result<>()
          : failure(ErrorKind::kPlugin,
                    fmt::format("{}: update: \"{}\" is not finite after step {}; nothing was saved, the last checkpoint is as it was",
                                describe(parts_.phases.optimizers[parts_.axis.progress(state_->step - 1).phase]->manifest()), name,
                                state_->step)));
}

Result<> Trainer::save() {
  for (TrainObserver *observer : parts_.observers) TRAINHOST_CHECK(observer->before_checkpoint());
  TRAINHOST_CHECK(move_to(ParameterPoint::kEvaluation));
  const CheckpointContents contents{.step = state_->step,
                                    .tokens = parts_.axis.tokens_at_step(state_->step),
                                    .label = label(),
                                    .fingerprints = parts_.fingerprints,
                                    .trainer_state = state_->to_json(),
                                    .tensors = parts_.parameters.tensors_to_save()};
  TRAINHOST_CHECK(check_finite(contents.tensors));
  Retention retention{.keep = parts_.recipe.checkpoint.keep, .always_keep = parts_.recipe.checkpoint.always_keep};
  for (const Branch &branch : parts_.recipe.branches) retention.always_keep.push_back(branch.from);
  return background_ ? background_->save(contents, std::move(retention)) : save_and_wait(contents, retention);
}

Result<> Trainer::save_and_wait(const CheckpointContents &contents, const Retention &retention) {
  const auto started = std::chrono::steady_clock::now();
  TRAINHOST_TRY(const std::string path, parts_.checkpoints.save(contents));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  log_info(fmt::format("saved {} in {:.2f} s", path, seconds));
  return parts_.checkpoints.prune(retention.keep, retention.always_keep);
}

}  // namespace trainhost
