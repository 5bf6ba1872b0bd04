/* Optional interface of a model: how much memory its units take, so that the host can tell before it starts whether a run fits, and how
 * many units to recompute. */
#pragma once

#include "../kinds/model.h"

#define TH_EXT_MODEL_MEMORY "th.model.memory/1"

/* Bytes that the plugin takes for itself, from host->allocate and elsewhere; not what the host passes in. Of what a call takes for a part
 * of its time, only the most at once counts. */
typedef struct th_unit_memory {
  uint32_t struct_size, reserved;
  uint64_t saved;    /* kept from the end of forward to backward or release */
  uint64_t forward;  /* while forward runs, beyond `saved` */
  uint64_t backward; /* while backward runs, beyond `saved`; for the last unit loss_and_backward where there is one */
} th_unit_memory;

typedef struct th_model_memory {
  uint32_t struct_size, reserved;
  /* Of one unit, called with this `training` and `keep` of th_call, over a micro-batch of so many sequences of so many tokens, each one
   * document. Nothing is computed or allocated. sequence_length is at most that of the options; sequences * sequence_length may be more
   * than their tokens. [any-thread] */
  th_status (*unit_memory)(const th_model *, uint32_t unit, const th_call *, uint32_t sequences, uint32_t sequence_length,
                           th_unit_memory *out);
} th_model_memory;
