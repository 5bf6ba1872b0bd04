#include "train/batch_growth.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "collectives/agreement.h"

namespace trainhost {
namespace {

// What a step should have after a look at the loss.
uint64_t grown(const Batch &batch, const BatchProgress &progress, uint64_t tokens) {
  if (batch.rule == "stall") return progress.stalls(batch.improvement) ? std::min(2 * tokens, batch.most) : tokens;
  const double law = batch.scale / std::pow(progress.mean_loss(), batch.exponent);
  while (2 * tokens <= batch.most && static_cast<double>(2 * tokens) <= law) tokens *= 2;
  return tokens;
}

std::string reason_of(const Batch &batch, const BatchProgress &progress) {
  if (batch.rule == "stall") return fmt::format("the loss stalls: {:.4f} after {:.4f}", progress.mean_loss(), progress.loss_before);
  return fmt::format("the loss is {:.4f}", progress.mean_loss());
}

}  // namespace

Result<uint64_t> BatchGrowth::enter(TrainState &state) {
  TRAINHOST_CHECK(follow(state));
  const Batch &batch = batch_at(state.step);
  if (batch.rule == "seesaw") return enter_by_learning_rate(state);
  if (batch.grows_by_itself()) return enter_by_loss(state);
  return parts_.axis.phases()[parts_.axis.phase_of_step(state.step)].end_step;
}

// After a resume, a roll-back or a decision.
Result<> BatchGrowth::follow(const TrainState &state) {
  if (parts_.axis.grown() == state.batch.grown) return {};
  parts_.axis.grow(state.batch.grown);
  return parts_.stream.follow_axis();
}

Result<> BatchGrowth::grow(TrainState &state, uint64_t tokens, const std::string &reason) {
  BatchReport report{.step = state.step, .tokens = parts_.axis.tokens_at_step(state.step), .reason = reason};
  report.before = parts_.axis.shape_of_step(state.step).tokens();
  state.batch.grown.push_back({report.tokens, tokens});
  TRAINHOST_CHECK(follow(state));
  report.after = tokens;
  report.total_steps = parts_.axis.total_steps();
  parts_.reporter.batch(report);
  return {};
}

Result<uint64_t> BatchGrowth::enter_by_loss(TrainState &state) {
  const Batch &batch = batch_at(state.step);
  BatchProgress &progress = state.batch;
  if (progress.steps > 0 && parts_.axis.due_at(*batch.every, state.step)) {
    const uint64_t now = parts_.axis.shape_of_step(state.step).tokens();
    // Rank 0 decides for all: processors that round a power otherwise could else part the ranks.
    TRAINHOST_TRY(const std::string tokens,
                  agreed_on_first(parts_.world, [&]() -> Result<std::string> { return std::to_string(grown(batch, progress, now)); }));
    if (std::stoull(tokens) > now) TRAINHOST_CHECK(grow(state, std::stoull(tokens), reason_of(batch, progress)));
    progress.look();
  }
  return next_look(state.step);
}

uint64_t BatchGrowth::next_look(uint64_t step) const {
  const uint64_t end = parts_.axis.phases()[parts_.axis.phase_of_step(step)].end_step;
  const Amount &every = *batch_at(step).every;
  while (++step < end && !parts_.axis.due_at(every, step)) {
  }
  return step;
}

Result<uint64_t> BatchGrowth::enter_by_learning_rate(TrainState &state) {
  for (;;) {
    TRAINHOST_TRY(const std::string halving, agreed_on_first(parts_.world, [&]() -> Result<std::string> {
                    TRAINHOST_TRY(const uint64_t step, next_halving(state.step));
                    return std::to_string(step);
                  }));
    if (std::stoull(halving) > state.step) return std::stoull(halving);
    TRAINHOST_CHECK(grow(state, 2 * parts_.axis.shape_of_step(state.step).tokens(), "the learning rate has halved"));
  }
}

// The first step from here on in whose place the batch must double; else the phase's end.
Result<uint64_t> BatchGrowth::next_halving(uint64_t step) const {
  const uint32_t phase = parts_.axis.phase_of_step(step);
  const uint64_t end = parts_.axis.phases()[phase].end_step, tokens = parts_.axis.shape_of_step(step).tokens();
  const Batch &batch = batch_at(step);
  if (tokens == batch.most) return end;
  const double share = static_cast<double>(batch.tokens) / static_cast<double>(2 * tokens);
  double peak = 0;
  for (uint64_t at = parts_.axis.step_reaching(static_cast<double>(parts_.axis.first_token_of_rule(phase))); at < end; ++at) {
    TRAINHOST_TRY(const ScheduleValues values, parts_.phases.schedulers[parts_.axis.phase_of_step(at)]->values(parts_.axis.progress(at)));
    peak = std::max(peak, values.learning_rate);
    if (at >= step && values.learning_rate < peak && values.learning_rate <= share * peak) return at;
  }
  return end;
}

void BatchGrowth::learn(TrainState &state, uint32_t phase, double loss) const {
  if (parts_.axis.phases()[phase].grows_by_itself && std::isfinite(loss)) state.batch.learn(loss);
}

double BatchGrowth::learning_rate_factor(uint64_t step) const {
  const Batch &batch = batch_at(step);
  if (batch.rule != "seesaw") return 1;
  return std::sqrt(static_cast<double>(parts_.axis.shape_of_step(step).tokens()) / static_cast<double>(batch.tokens));
}

}  // namespace trainhost
