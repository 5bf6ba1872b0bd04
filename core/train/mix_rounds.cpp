#include "train/mix_rounds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/log.h"
#include "collectives/agreement.h"

namespace trainhost {
namespace {

std::vector<double> means(const std::vector<double> &sums, const std::vector<uint64_t> &counts) {
  std::vector<double> means;
  for (size_t i = 0; i < sums.size(); ++i) {
    means.push_back(counts[i] > 0 ? sums[i] / static_cast<double>(counts[i]) : std::numeric_limits<double>::quiet_NaN());
  }
  return means;
}

}  // namespace

// Whether it is of these sources and this mixer.
bool MixRounds::belongs(const MixProgress &mix) const {
  const size_t sources = parts_.recipe.sources.size();
  return mix.mixer_state.size() == parts_.mixer.rounds()->state_size && mix.round.weights.size() == sources &&
         mix.round.start.size() == sources && mix.losses.size() == sources && mix.tokens.size() == sources;
}

// Whether the step lies in the round, and the round in its phase: a run may have begun with the checkpoint of one with other phases.
bool MixRounds::goes_on(const MixRound &round, uint64_t step) const {
  const PhaseSpan &span = parts_.axis.phases()[parts_.axis.phase_of_step(step)];
  if (step >= round.end_step || round.first_step < span.first_step || round.end_step > span.end_step) return false;
  const std::vector<double> &shares = phase_at(step).weights;
  return std::ranges::equal(round.weights, shares, [](double weight, double share) { return weight == 0 || share > 0; });
}

bool MixRounds::begins(const TrainState &state) const {
  if (!parts_.mixer.rounds()) return false;
  return !state.mix || !belongs(*state.mix) || !goes_on(state.mix->round, state.step);
}

void MixRounds::resume(const TrainState &state) const {
  if (parts_.mixer.rounds() && state.mix && belongs(*state.mix)) parts_.stream.enter(state.mix->round);
}

Result<uint64_t> MixRounds::enter(TrainState &state) {
  const bool foreign = state.mix && parts_.mixer.rounds() && !belongs(*state.mix);
  if (foreign && parts_.world.rank() == 0) {
    log_warning("the checkpoint's mix is of other sources or of another mixer; the mixer begins anew, and text may come again");
  }
  if (foreign || !parts_.mixer.rounds()) state.mix.reset();
  if (!parts_.mixer.rounds()) return parts_.axis.total_steps();
  parts_.stream.enter(state.mix ? std::optional(state.mix->round) : std::nullopt);
  if (begins(state)) {
    TRAINHOST_CHECK(begin(state));
    parts_.stream.enter(state.mix->round);
  }
  return state.mix->round.end_step;
}

uint64_t MixRounds::end_of_round(uint64_t first_step) const {
  const PhaseSpan &span = parts_.axis.phases()[parts_.axis.phase_of_step(first_step)];
  const double end = static_cast<double>(parts_.axis.tokens_at_step(first_step)) + parts_.mixer.rounds()->tokens;
  return std::clamp(parts_.axis.step_reaching(end), first_step + 1, span.end_step);
}

RoundBefore MixRounds::learnt(const TrainState &state) const {
  if (state.mix) {
    const MixProgress &mix = *state.mix;
    return {.round = mix.round.number + 1, .weights = mix.round.weights, .losses = means(mix.losses, mix.tokens), .tokens = mix.tokens};
  }
  const std::vector<uint64_t> none(parts_.recipe.sources.size(), 0);
  return {.round = 0, .weights = phase_at(state.step).weights, .losses = means(std::vector<double>(none.size()), none), .tokens = none};
}

// The state with its next round begun, as JSON.
Result<std::string> MixRounds::next(TrainState state, const RoundBefore &before) const {
  const size_t sources = before.weights.size();
  TRAINHOST_TRY(auto start, parts_.stream.positions(state.step));
  MixProgress next{.round = {.number = before.round,
                             .first_step = state.step,
                             .end_step = end_of_round(state.step),
                             .weights = std::vector<double>(sources),
                             .start = std::move(start)},
                   .mixer_state = state.mix ? state.mix->mixer_state : std::vector<double>(parts_.mixer.rounds()->state_size),
                   .losses = std::vector<double>(sources),
                   .tokens = std::vector<uint64_t>(sources)};
  TRAINHOST_CHECK(parts_.mixer.next_round(phase_at(state.step), before, next.mixer_state, next.round.weights));
  state.mix = std::move(next);
  return state.to_json();
}

// Rank 0's mixer decides for all: processors that round an exponential otherwise could else part the ranks.
Result<> MixRounds::begin(TrainState &state) const {
  const RoundBefore before = learnt(state);
  TRAINHOST_TRY(const std::string decided, agreed_on_first(parts_.world, [&] { return next(state, before); }));
  TRAINHOST_TRY(state, TrainState::from_json(decided, state.step));
  report(state, before);
  return {};
}

void MixRounds::report(const TrainState &state, const RoundBefore &before) const {
  MixReport report{.step = state.step, .tokens = parts_.axis.tokens_at_step(state.step), .round = before.round, .rows = {}};
  for (size_t i = 0; i < before.weights.size(); ++i) {
    report.rows.push_back({.source = parts_.recipe.sources[i].name,
                           .weight = state.mix->round.weights[i],
                           .loss_per_token = before.losses[i],
                           .tokens = before.tokens[i]});
  }
  parts_.reporter.mix(report);
}

}  // namespace trainhost
