#include "recipe/token_axis.h"

#include <algorithm>
#include <cmath>

namespace trainhost {
namespace {

// Products of shares miss whole numbers by a few units in the last place; this much of one is taken as reached.
constexpr double kRounding = 1e-9;

// Enough rows for matrix products to run at full speed; more would only need more memory.
constexpr uint64_t kAutoMicroBatchTokens = 4096;

double multiples_within(double length, double amount) { return std::floor(length / amount + kRounding); }

}  // namespace

TokenAxis::TokenAxis(const Recipe &recipe) : run_tokens_(recipe.run.tokens) {
  for (const Phase &phase : recipe.phases) {
    PhaseSpan span;
    if (!phases_.empty()) {
      span.first_token = phases_.back().end_token;
      span.first_step = phases_.back().end_step;
    }
    span.sequence_length = phase.overrides.sequence_length.value_or(recipe.packing.sequence_length);
    span.sequences = static_cast<uint32_t>(phase.overrides.batch_tokens.value_or(recipe.training.batch_tokens) / span.sequence_length);

    const uint64_t at_a_time = recipe.training.micro_batch_tokens > 0 ? recipe.training.micro_batch_tokens : kAutoMicroBatchTokens;
    span.micro_batch_sequences =
        static_cast<uint32_t>(std::clamp<uint64_t>(at_a_time / span.sequence_length, 1, std::max(span.sequences, 1u)));

    double steps = 0;
    if (phase.until && phase.until->unit == Amount::Unit::kSteps) {
      steps = phase.until->value - static_cast<double>(span.first_step);
    } else {
      const double end = phase.until ? tokens_of(*phase.until) : static_cast<double>(run_tokens_);
      steps = (end - static_cast<double>(span.first_token)) / static_cast<double>(span.step_tokens());
    }
    const auto whole_steps = static_cast<uint64_t>(std::max(0.0, std::ceil(steps - kRounding)));
    span.end_step = span.first_step + whole_steps;
    span.end_token = span.first_token + whole_steps * span.step_tokens();
    phases_.push_back(span);
  }
}

uint32_t TokenAxis::phase_of_step(uint64_t step) const {
  uint32_t phase = 0;
  while (phase + 1 < phases_.size() && step >= phases_[phase].end_step) ++phase;
  return phase;
}

uint64_t TokenAxis::tokens_at_step(uint64_t step) const {
  const PhaseSpan &span = phases_[phase_of_step(step)];
  return span.first_token + (step - span.first_step) * span.step_tokens();
}

double TokenAxis::tokens_of(const Amount &amount) const {
  switch (amount.unit) {
    case Amount::Unit::kTokens:
      return amount.value;
    case Amount::Unit::kShare:
      return amount.value * static_cast<double>(run_tokens_);
    case Amount::Unit::kSteps:
      break;
  }
  const PhaseSpan &span = phases_[phase_of_step(static_cast<uint64_t>(amount.value))];
  return static_cast<double>(span.first_token) + (amount.value - static_cast<double>(span.first_step)) * span.step_tokens();
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
