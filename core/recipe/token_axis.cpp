#include "recipe/token_axis.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace trainhost {
namespace {

// Products of shares miss whole numbers by a few units in the last place; this much of one is taken as reached.
constexpr double kRounding = 1e-9;

constexpr uint32_t kFixedMicroBatches = 8;

double multiples_within(double length, double amount) { return std::floor(length / amount + kRounding); }

uint32_t largest_divisor(uint32_t number, uint64_t at_most) {
  uint32_t divisor = static_cast<uint32_t>(std::min<uint64_t>(number, at_most));
  while (divisor > 1 && number % divisor != 0) --divisor;
  return std::max(divisor, 1u);
}

}  // namespace

uint32_t micro_batch_sequences(const Recipe &recipe, const StepShape &shape, uint32_t ranks, uint64_t auto_tokens) {
  const bool chosen = recipe.training.micro_batch_tokens > 0, fixed = recipe.run.reduction == "fixed";
  const uint64_t tokens = chosen ? recipe.training.micro_batch_tokens : fixed ? kAutoMicroBatchTokens : auto_tokens;
  const uint64_t at_a_time = std::max<uint64_t>(1, tokens / shape.sequence_length);
  if (fixed && !chosen) return largest_divisor(shape.sequences, std::min<uint64_t>(at_a_time, shape.sequences / kFixedMicroBatches));
  if (fixed || ranks == 1) return static_cast<uint32_t>(std::min<uint64_t>(at_a_time, std::max(shape.sequences, 1u)));
  return largest_divisor(shape.sequences / ranks, at_a_time);
}

Result<> check_shares(const Recipe &recipe, uint32_t ranks) {
  const TokenAxis axis(recipe, ranks);
  for (const StepShape &shape : axis.possible_shapes()) {
    const std::string &phase = recipe.phases[shape.phase].name;
    if (shape.sequences % ranks != 0) {
      const uint64_t below = shape.sequences / ranks * ranks * uint64_t{shape.sequence_length},
                     step = uint64_t{ranks} * shape.sequence_length;
      return failure(
          ErrorKind::kRecipe,
          fmt::format("phase \"{}\": a step of {} sequences of {} tokens cannot be shared equally by {} processes; the nearest "
                      "batches that can: {}{} tokens",
                      phase, shape.sequences, shape.sequence_length, ranks, below > 0 ? fmt::format("{} and ", below) : "", below + step));
    }
    const uint32_t micro_batches = (shape.sequences + shape.micro_batch_sequences - 1) / shape.micro_batch_sequences;
    if (micro_batches % ranks != 0) {
      return failure(
          ErrorKind::kRecipe,
          fmt::format("phase \"{}\": with reduction = \"fixed\" a step is cut into {} micro-batches of {} tokens, which {} processes "
                      "cannot share equally; set training.micro_batch to {} tokens",
                      phase, micro_batches, shape.micro_batch_sequences * shape.sequence_length, ranks,
                      largest_divisor(shape.sequences / ranks, shape.micro_batch_sequences) * shape.sequence_length));
    }
  }
  return {};
}

struct TokenAxis::Place {
  uint64_t step = 0, token = 0;
};

TokenAxis::TokenAxis(const Recipe &recipe, uint32_t ranks, uint64_t auto_tokens) : ranks_(ranks), auto_tokens_(auto_tokens) {
  recipe_.run = recipe.run;
  recipe_.packing = recipe.packing;
  recipe_.phases = recipe.phases;
  recipe_.training = recipe.training;
  lay_out();
}

void TokenAxis::grow(std::vector<GrownBatch> grown) {
  grown_ = std::move(grown);
  lay_out();
}

void TokenAxis::lay_out() {
  phases_.clear();
  batches_.clear();
  Place place;
  for (uint32_t phase = 0; phase < recipe_.phases.size(); ++phase) lay_out_phase(phase, place);
}

void TokenAxis::lay_out_phase(uint32_t phase, Place &place) {
  phases_.push_back({.first_token = place.token,
                     .first_step = place.step,
                     .sequence_length = recipe_.phases[phase].overrides.sequence_length.value_or(recipe_.packing.sequence_length),
                     .grows_by_itself = batch_of(recipe_, phase).grows_by_itself()});
  PhaseSpan &span = phases_.back();
  const std::vector<Batch::Level> levels = levels_of(phase);
  auto level = levels.begin();
  for (;;) {
    while (level->until && steps_until(level->until, place, level->tokens) == 0) ++level;
    const uint64_t grown = span.grows_by_itself ? grown_tokens(phase, place.token) : 0;
    const StepShape step = shape(phase, grown > 0 ? grown : level->tokens);
    double steps = steps_until(recipe_.phases[phase].until, place, step.tokens());
    if (steps == 0) break;
    if (level->until) steps = std::min(steps, steps_until(level->until, place, step.tokens()));
    const auto next = std::ranges::upper_bound(grown_, place.token, {}, &GrownBatch::from_token);
    if (span.grows_by_itself && next != grown_.end())
      steps = std::min(steps, std::ceil(static_cast<double>(next->from_token - place.token) / static_cast<double>(step.tokens())));
    const auto whole_steps = static_cast<uint64_t>(steps);
    batches_.push_back({.shape = step, .first_token = place.token, .first_step = place.step, .end_step = place.step + whole_steps});
    span.samples += whole_steps * step.sequences;
    place = {place.step + whole_steps, place.token + whole_steps * step.tokens()};
  }
  span.end_token = place.token;
  span.end_step = place.step;
  if (span.grows_by_itself) span.samples = most_samples(phase);
}

// How many steps from here reach the amount's end; without one, the run's.
double TokenAxis::steps_until(const std::optional<Amount> &until, const Place &place, uint64_t step_tokens) const {
  double steps = 0;
  if (until && until->unit == Amount::Unit::kSteps) {
    steps = until->value - static_cast<double>(place.step);
  } else {
    const double end = until ? tokens_of(*until) : static_cast<double>(recipe_.run.tokens);
    steps = (end - static_cast<double>(place.token)) / static_cast<double>(step_tokens);
  }
  return std::max(0.0, std::ceil(steps - kRounding));
}

StepShape TokenAxis::shape(uint32_t phase, uint64_t batch_tokens) const {
  StepShape shape{.phase = phase, .sequence_length = phases_[phase].sequence_length};
  shape.sequences = static_cast<uint32_t>(batch_tokens / shape.sequence_length);
  shape.micro_batch_sequences = micro_batch_sequences(recipe_, shape, ranks_, auto_tokens_);
  return shape;
}

uint64_t TokenAxis::first_token_of_rule(uint32_t phase) const {
  return recipe_.phases[phase].overrides.batch ? phases_[phase].first_token : 0;
}

// The sizes of the phase's batch with where each ends; the last goes on. A ramp has them of equal length from where its rule begins.
std::vector<Batch::Level> TokenAxis::levels_of(uint32_t phase) const {
  const Batch &batch = batch_of(recipe_, phase);
  if (batch.rule == "levels") return batch.levels;
  if (batch.rule != "ramp") return {{batch.tokens, std::nullopt}};
  const bool in_steps = batch.until->unit == Amount::Unit::kSteps;
  const bool own = recipe_.phases[phase].overrides.batch.has_value();
  const double first =
      in_steps ? (own ? static_cast<double>(phases_[phase].first_step) : 0) : static_cast<double>(first_token_of_rule(phase));
  const double length = (in_steps ? batch.until->value : tokens_of(*batch.until)) - first;
  const std::vector<uint64_t> sizes = batch.sizes();
  std::vector<Batch::Level> levels;
  for (size_t i = 0; i < sizes.size(); ++i) {
    Amount until{.value = first + length * static_cast<double>(i + 1) / static_cast<double>(sizes.size() - 1),
                 .unit = in_steps ? Amount::Unit::kSteps : Amount::Unit::kTokens,
                 .text = {},
                 .position = {}};
    levels.push_back({sizes[i], i + 1 < sizes.size() ? std::optional(until) : std::nullopt});
  }
  return levels;
}

// What the batch has grown to by this token since its rule began; 0 when it has not.
uint64_t TokenAxis::grown_tokens(uint32_t phase, uint64_t at_token) const {
  uint64_t tokens = 0;
  for (const GrownBatch &grown : grown_) {
    if (grown.from_token > at_token || grown.from_token < first_token_of_rule(phase)) continue;
    const auto in = std::prev(std::ranges::upper_bound(phases_, grown.from_token, {}, &PhaseSpan::first_token)) - phases_.begin();
    if (first_token_of_rule(static_cast<uint32_t>(in)) == first_token_of_rule(phase)) tokens = grown.tokens;
  }
  return tokens;
}

uint64_t TokenAxis::most_samples(uint32_t phase) const {
  const uint64_t most = batch_of(recipe_, phase).most;
  const std::optional<Amount> &until = recipe_.phases[phase].until;
  const PhaseSpan &span = phases_[phase];
  if (until && until->unit == Amount::Unit::kSteps)
    return (static_cast<uint64_t>(until->value) - span.first_step) * (most / span.sequence_length);
  const double end = until ? tokens_of(*until) : static_cast<double>(recipe_.run.tokens);
  return static_cast<uint64_t>((end - static_cast<double>(span.first_token) + static_cast<double>(most)) / span.sequence_length);
}

std::vector<StepShape> TokenAxis::possible_shapes() const {
  std::vector<StepShape> shapes;
  for (uint32_t phase = 0; phase < phases_.size(); ++phase)
    for (const uint64_t size : batch_of(recipe_, phase).sizes()) shapes.push_back(shape(phase, size));
  return shapes;
}

const BatchSpan &TokenAxis::span_of_step(uint64_t step) const {
  return *std::prev(std::ranges::upper_bound(batches_, step, {}, &BatchSpan::first_step));
}

const StepShape &TokenAxis::shape_of_step(uint64_t step) const { return span_of_step(step).shape; }

uint32_t TokenAxis::phase_of_step(uint64_t step) const { return span_of_step(step).shape.phase; }

uint64_t TokenAxis::tokens_at_step(uint64_t step) const {
  const BatchSpan &span = span_of_step(step);
  return span.first_token + (step - span.first_step) * span.shape.tokens();
}

uint64_t TokenAxis::step_reaching(double tokens) const {
  const auto next =
      std::ranges::lower_bound(batches_, tokens, {}, [](const BatchSpan &span) { return static_cast<double>(span.first_token); });
  if (next == batches_.begin()) return 0;
  const BatchSpan &span = *std::prev(next);
  const double steps = std::ceil((tokens - static_cast<double>(span.first_token)) / static_cast<double>(span.shape.tokens()) - kRounding);
  return span.first_step + std::min(static_cast<uint64_t>(std::max(0.0, steps)), span.end_step - span.first_step);
}

uint64_t TokenAxis::samples_between(uint64_t first_step, uint64_t end_step) const {
  uint64_t samples = 0;
  for (const BatchSpan &span : batches_) {
    const uint64_t first = std::max(first_step, span.first_step), end = std::min(end_step, span.end_step);
    if (first < end) samples += (end - first) * span.shape.sequences;
  }
  return samples;
}

double TokenAxis::tokens_of(const Amount &amount) const {
  switch (amount.unit) {
    case Amount::Unit::kTokens:
      return amount.value;
    case Amount::Unit::kShare:
      return amount.value * static_cast<double>(recipe_.run.tokens);
    case Amount::Unit::kSteps:
      break;
  }
  const BatchSpan &span = span_of_step(static_cast<uint64_t>(amount.value));
  return static_cast<double>(span.first_token) +
         (amount.value - static_cast<double>(span.first_step)) * static_cast<double>(span.shape.tokens());
}

bool TokenAxis::due_at(const Amount &every, uint64_t steps_done) const {
  if (steps_done == 0) return false;
  const auto multiples = [&](uint64_t step) {
    if (every.unit == Amount::Unit::kSteps) return multiples_within(static_cast<double>(step), every.value);
    return multiples_within(static_cast<double>(tokens_at_step(step)), tokens_of(every));
  };
  return multiples(steps_done) > multiples(steps_done - 1);
}

th_progress TokenAxis::progress(uint64_t step) const {
  const uint32_t phase = phase_of_step(step);
  th_progress progress{};
  progress.struct_size = sizeof progress;
  progress.phase = phase;
  progress.step = step;
  progress.total_steps = total_steps();
  progress.tokens = tokens_at_step(step);
  progress.total_tokens = total_tokens();
  progress.phase_first_token = phases_[phase].first_token;
  progress.phase_end_token = phases_[phase].end_token;
  return progress;
}

}  // namespace trainhost
