/* Optional interface of a dataset mixer: moves the shares of the sources while a phase goes on, by what the model has learnt of each.
 *
 * The run is cut into rounds of so many tokens; a round ends with its phase, too. Within one the shares stand still: plan and counts get a
 * th_phase_mix whose weights and samples are those of the round, sample 0 being the round's first. Each source is read on from round to
 * round. So the mixer stays pure, and the host keeps all state, in every checkpoint; rounds are counted there, too. */
#pragma once

#include "../kinds/dataset_mixer.h"

#define TH_EXT_MIXER_FEEDBACK "th.mixer.feedback/1"
#define TH_MIXER_STATE_MAX 65536 /* numbers of state at most */

typedef struct th_mixer_feedback_info {
  uint32_t struct_size;
  uint32_t state_size; /* how many numbers of state the host keeps for the mixer, TH_MIXER_STATE_MAX at most */
  double round_tokens; /* > 0: a round ends with the first step that reaches it */
} th_mixer_feedback_info;

/* What is known when a round begins. Arrays have one entry per source. */
typedef struct th_mix_round {
  uint32_t struct_size, sources;
  const th_phase_mix *phase; /* in which the round lies, as the recipe wrote it: with the recipe's weights and all the phase's samples */
  const double *weights;     /* of the round before, sum 1; before the run's first round the recipe's */
  const double *losses;      /* of the round before: the mean over its tokens of each source, in nats; NaN where there were none */
  const uint64_t *tokens;    /* likewise: how many counted in the loss; all 0 before the run's first round */
} th_mix_round;

typedef struct th_mixer_feedback {
  uint32_t struct_size, reserved;
  /* Constant for an instance. [any-thread] */
  th_status (*describe)(const th_dataset_mixer *, th_mixer_feedback_info *out);
  /* Called once as each round begins, the run's first too, in whose call the state is all 0. state: changed in place, to finite numbers.
   * weights: to be filled with the round's shares: finite, >= 0, not all 0, and 0 where the phase's are 0; the host divides them by their
   * sum. What is written is a function of the arguments: a resumed run goes on with the state that was saved. On failure the run ends and
   * neither is kept. [step] */
  th_status (*next_round)(const th_dataset_mixer *, const th_mix_round *, double *state, double *weights);
} th_mixer_feedback;
