/* Dataset mixer: which source gives the i-th sample of a phase, and which sample of that source. */
#pragma once

#include "../host.h"

#define TH_KIND_DATASET_MIXER "th.kind.dataset_mixer/1"

typedef struct th_dataset_mixer th_dataset_mixer;

typedef struct th_source_info {
  uint32_t struct_size, reserved;
  th_string name, language, quality; /* as in the recipe */
  uint64_t tokens;                   /* in one epoch, held-out documents left out */
} th_source_info;

/* A phase as written in the recipe, or a round of one (ext/mixer_feedback.h). The arrays have one entry per source. */
typedef struct th_phase_mix {
  uint32_t struct_size, phase; /* phase: index in the recipe */
  const double *weights;       /* >= 0, sum 1: each source's share of the phase's samples, hence of its tokens */
  const uint64_t *windows;     /* samples of each source in one epoch, at the phase's sequence length */
  uint64_t samples;            /* of the whole phase; where its batch grows by itself at most so many */
} th_phase_mix;

typedef struct th_dataset_mixer_api {
  uint32_t struct_size, reserved;
  /* The source infos are valid during the call. On failure *out is untouched. [init] */
  th_status (*create)(const th_host *, const th_config *, const th_source_info *sources, uint32_t count, uint64_t seed,
                      th_dataset_mixer **out);
  void (*destroy)(th_dataset_mixer *); /* [init] */
  /* For samples [first, first + count) of the phase: the source, and the ordinal of the sample among that source's samples in this
   * phase (from 0, without gaps). A pure function: however a range is cut into calls, the answers are the same. [data-worker] */
  th_status (*plan)(const th_dataset_mixer *, const th_phase_mix *, uint64_t first, uint32_t count, uint32_t *source, uint64_t *ordinal);
  /* How many of the phase's first `samples` samples come from each source; agrees with plan. Its time does not grow with samples.
   * [data-worker] */
  th_status (*counts)(const th_dataset_mixer *, const th_phase_mix *, uint64_t samples, uint64_t *per_source);
  const void *(*get_extension)(const th_dataset_mixer *, th_string id); /* slot may be null; [init] */
} th_dataset_mixer_api;
