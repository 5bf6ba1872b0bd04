/* What a model says of a parameter, for the host and for optimizers. */
#pragma once

#include "status.h"

#define TH_ROLE_MATRIX 0 /* hidden 2-D weights: what Muon and muP scaling act on */
#define TH_ROLE_EMBEDDING 1
#define TH_ROLE_HEAD 2
#define TH_ROLE_NORM 3
#define TH_ROLE_BIAS 4

typedef struct th_parameter_info {
  uint32_t struct_size;
  int32_t role, rank;
  int32_t weight_decay;       /* 0: never decayed */
  th_string name;             /* stable over versions: it is the name in checkpoints */
  int64_t shape[4];           /* the first `rank` entries */
  double init_mean, init_std; /* normal distribution, filled by the host from its counter-based generator; std 0: constant */
  double lr_scale;            /* multiplies the schedule's learning rate */
} th_parameter_info;
