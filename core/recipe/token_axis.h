// The run's token axis: which step of which phase covers which tokens. Everything placed in time (schedules, phases, checkpoints,
// evaluations) is placed here.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "recipe/recipe.h"
#include "trainhost/host.h"

namespace trainhost {

// What a step is made of.
struct StepShape {
  uint32_t phase = 0;
  uint32_t sequences = 0, sequence_length = 0;
  uint32_t micro_batch_sequences = 0;  // at a time through the model, see micro_batch_sequences()
  uint64_t tokens() const { return uint64_t{sequences} * sequence_length; }
};

// Steps [first_step, end_step) of a phase, all of one shape.
struct BatchSpan {
  StepShape shape;
  uint64_t first_token = 0, first_step = 0, end_step = 0;
};

// Phase i covers tokens [first_token, end_token) in steps [first_step, end_step).
struct PhaseSpan {
  uint64_t first_token = 0, end_token = 0;
  uint64_t first_step = 0, end_step = 0;
  uint32_t sequence_length = 0;
  bool grows_by_itself = false;  // its batch does, see Batch
  uint64_t samples = 0;          // sequences of all its steps; where it grows by itself at most so many, whenever it does
};

// From this many tokens on steps have so many tokens, in the phases whose batch grows by itself.
struct GrownBatch {
  uint64_t from_token = 0, tokens = 0;
  bool operator==(const GrownBatch &) const = default;
};

// What "auto" takes at a time where there is memory: enough rows for matrix products to run at full speed on CPUs; more would only need
// more memory.
constexpr uint64_t kAutoMicroBatchTokens = 4096;

// How many of a step's sequences go through the model at a time: as the recipe says, or as many as make auto_tokens; so many that all ranks
// have as many micro-batches. With reduction = "fixed" they do not depend on the number of ranks, and where the recipe does not say
// how many tokens they have, there are at least eight to share, of 4096 tokens at most.
uint32_t micro_batch_sequences(const Recipe &recipe, const StepShape &shape, uint32_t ranks, uint64_t auto_tokens = kAutoMicroBatchTokens);

// kRecipe when a phase's step cannot be shared equally by so many ranks; names the phase and what can.
Result<> check_shares(const Recipe &recipe, uint32_t ranks);

class TokenAxis {
 public:
  // A phase ends with the first step that reaches its `until`, a level of a batch likewise; so totals are rounded up to whole steps. The
  // recipe has passed its checks (batches are whole sequences, phases in order).
  // ranks: how many processes share each step's micro-batches. auto_tokens: see micro_batch_sequences().
  explicit TokenAxis(const Recipe &recipe, uint32_t ranks = 1, uint64_t auto_tokens = kAutoMicroBatchTokens);

  // Lays the axis out anew with batches that have grown meanwhile, in order. What lies before the last one's place stays as it was.
  // Not while another thread uses the axis.
  void grow(std::vector<GrownBatch> grown);
  const std::vector<GrownBatch> &grown() const { return grown_; }

  const std::vector<PhaseSpan> &phases() const { return phases_; }
  const std::vector<BatchSpan> &batches() const { return batches_; }
  const StepShape &shape_of_step(uint64_t step) const;  // of the last step for step == total_steps
  // All that a step may come to, each once for a phase, those of batches that may still grow too.
  std::vector<StepShape> possible_shapes() const;
  // Sequences of the steps [first_step, end_step).
  uint64_t samples_between(uint64_t first_step, uint64_t end_step) const;
  uint64_t total_steps() const { return phases_.back().end_step; }
  uint64_t total_tokens() const { return phases_.back().end_token; }
  uint32_t phase_of_step(uint64_t step) const;         // the last phase for step == total_steps
  uint64_t tokens_at_step(uint64_t step) const;        // consumed before the step
  uint64_t step_reaching(double tokens) const;         // the first before which so many are consumed; total_steps for more than there are
  uint64_t first_token_of_rule(uint32_t phase) const;  // from which the rule of the phase's batch counts
  // The amount as a length in tokens. Steps are counted from the run's start; a share is one of run.tokens, before rounding up.
  double tokens_of(const Amount &amount) const;
  // Whether something that happens every `every` is due when `steps_done` steps are done: at the multiples of the amount, each moved
  // up to a step's end.
  bool due_at(const Amount &every, uint64_t steps_done) const;
  th_progress progress(uint64_t step) const;

 private:
  struct Place;  // where the next step begins
  StepShape shape(uint32_t phase, uint64_t batch_tokens) const;
  double steps_until(const std::optional<Amount> &until, const Place &place, uint64_t step_tokens) const;
  std::vector<Batch::Level> levels_of(uint32_t phase) const;
  uint64_t grown_tokens(uint32_t phase, uint64_t at_token) const;
  uint64_t most_samples(uint32_t phase) const;
  void lay_out();
  void lay_out_phase(uint32_t phase, Place &place);
  const BatchSpan &span_of_step(uint64_t step) const;

  Recipe recipe_;  // only what places things on the axis
  uint32_t ranks_;
  uint64_t auto_tokens_;
  std::vector<GrownBatch> grown_;
  std::vector<PhaseSpan> phases_;
  std::vector<BatchSpan> batches_;
};

}  // namespace trainhost
