/* Optional service of the host: counter-based random numbers (Philox4x32-10, Salmon et al. 2011). A value is a function of
 * (seed, stream, index), never of history, so recomputing a unit or resuming a run replays it. */
#pragma once

#include "../host.h"

#define TH_EXT_RNG "th.rng/1"

typedef struct th_rng {
  uint32_t struct_size, reserved;
  /* out[i] = value number first + i of the stream; uniform in [0, 1). [any-thread] */
  void (*uniform)(uint64_t seed, uint64_t stream, uint64_t first, uint64_t count, float *out);
  /* Likewise, from the normal distribution of mean 0 and standard deviation 1. [any-thread] */
  void (*normal)(uint64_t seed, uint64_t stream, uint64_t first, uint64_t count, float *out);
} th_rng;
