// The run's token axis: which step of which phase covers which tokens. Everything placed in time (schedules, phases, checkpoints,
// evaluations) is placed here.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "recipe/recipe.h"
#include "trainhost/host.h"

namespace trainhost {

// Phase i covers tokens [first_token, end_token) in steps [first_step, end_step), each of sequences x sequence_length tokens.
struct PhaseSpan {
  uint64_t first_token = 0, end_token = 0;
  uint64_t first_step = 0, end_step = 0;
  uint32_t sequences = 0, sequence_length = 0;  // of a step
  uint32_t micro_batch_sequences = 0;           // at a time through the model, see micro_batch_sequences()
  uint64_t step_tokens() const { return uint64_t{sequences} * sequence_length; }
};

// What "auto" takes at a time where there is memory: enough rows for matrix products to run at full speed on CPUs; more would only need
// more memory.
constexpr uint64_t kAutoMicroBatchTokens = 4096;

// How many of a step's sequences go through the model at a time: as the recipe says, or as many as make auto_tokens; so many that all ranks
// have as many micro-batches. With reduction = "fixed" they do not depend on the number of ranks, and where the recipe does not say
// how many tokens they have, there are at least eight to share, of 4096 tokens at most.
uint32_t micro_batch_sequences(const Recipe &recipe, const PhaseSpan &span, uint32_t ranks, uint64_t auto_tokens = kAutoMicroBatchTokens);

// kRecipe when a phase's step cannot be shared equally by so many ranks; names the phase and what can.
Result<> check_shares(const Recipe &recipe, uint32_t ranks);

class TokenAxis {
 public:
  // A phase ends with the first step that reaches its `until`; so totals are rounded up to whole steps. The recipe has passed its
  // checks (batches are whole sequences, phases in order).
  // ranks: how many processes share each step's micro-batches. auto_tokens: see micro_batch_sequences().
  explicit TokenAxis(const Recipe &recipe, uint32_t ranks = 1, uint64_t auto_tokens = kAutoMicroBatchTokens);

  const std::vector<PhaseSpan> &phases() const { return phases_; }
  uint64_t total_steps() const { return phases_.back().end_step; }
  uint64_t total_tokens() const { return phases_.back().end_token; }
  uint32_t phase_of_step(uint64_t step) const;   // the last phase for step == total_steps
  uint64_t tokens_at_step(uint64_t step) const;  // consumed before the step
  // The amount as a length in tokens. Steps are counted from the run's start; a share is one of run.tokens, before rounding up.
  double tokens_of(const Amount &amount) const;
  // Whether something that happens every `every` is due when `steps_done` steps are done: at the multiples of the amount, each moved
  // up to a step's end.
  bool due_at(const Amount &every, uint64_t steps_done) const;
  th_progress progress(uint64_t step) const;

 private:
  uint64_t run_tokens_;  // as the recipe says, not rounded to steps
  std::vector<PhaseSpan> phases_;
};

}  // namespace trainhost
