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

uint32_t micro_batch_sequences(const Recipe &recipe, const PhaseSpan &span, uint32_t ranks, uint64_t auto_tokens) {
  const bool chosen = recipe.training.micro_batch_tokens > 0, fixed = recipe.run.reduction == "fixed";
  const uint64_t tokens = chosen ? recipe.training.micro_batch_tokens : fixed ? kAutoMicroBatchTokens : auto_tokens;
  const uint64_t at_a_time = std::max<uint64_t>(1, tokens / span.sequence_length);
  if (fixed && !chosen) return largest_divisor(span.sequences, std::min<uint64_t>(at_a_time, span.sequences / kFixedMicroBatches));
  if (fixed || ranks == 1) return static_cast<uint32_t>(std::min<uint64_t>(at_a_time, std::max(span.sequences, 1u)));
  return largest_divisor(span.sequences / ranks, at_a_time);
}

Result<> check_shares(const Recipe &recipe, uint32_t ranks) {
  const TokenAxis axis(recipe, ranks);
  for (size_t i = 0; i < axis.phases().size(); ++i) {
    const PhaseSpan &span = axis.phases()[i];
    const std::string &phase = recipe.phases[i].name;
    if (span.sequences % ranks != 0) {
      const uint64_t below = span.sequences / ranks * ranks * uint64_t{span.sequence_length}, step = uint64_t{ranks} * span.sequence_length;
      return failure(
          ErrorKind::kRecipe,
          fmt::format("phase \"{}\": a step of {} sequences of {} tokens cannot be shared equally by {} processes; the nearest "
                      "batches that can: {}{} tokens",
                      phase, span.sequences, span.sequence_length, ranks, below > 0 ? fmt::format("{} and ", below) : "", below + step));
    }
    const uint32_t micro_batches = (span.sequences + span.micro_batch_sequences - 1) / span.micro_batch_sequences;
    if (micro_batches % ranks != 0) {
      return failure(
          ErrorKind::kRecipe,
          fmt::format("phase \"{}\": with reduction = \"fixed\" a step is cut into {} micro-batches of {} tokens, which {} processes "
                      "cannot share equally; set training.micro_batch to {} tokens",
                      phase, micro_batches, span.micro_batch_sequences * span.sequence_length, ranks,
                      largest_divisor(span.sequences / ranks, span.micro_batch_sequences) * span.sequence_length));
    }
  }
  return {};
}

TokenAxis::TokenAxis(const Recipe &recipe, uint32_t ranks, uint64_t auto_tokens) : run_tokens_(recipe.run.tokens) {
  for (const Phase &phase : recipe.phases) {
    PhaseSpan span;
    if (!phases_.empty()) {
      span.first_token = phases_.back().end_token;
      span.first_step = phases_.back().end_step;
    }
    span.sequence_length = phase.overrides.sequence_length.value_or(recipe.packing.sequence_length);
    span.sequences = static_cast<uint32_t>(phase.overrides.batch_tokens.value_or(recipe.training.batch_tokens) / span.sequence_length);

    span.micro_batch_sequences = micro_batch_sequences(recipe, span, ranks, auto_tokens);

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
