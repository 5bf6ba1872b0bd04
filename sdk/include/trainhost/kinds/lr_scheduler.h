/* Learning-rate scheduler: a pure function of progress. */
#pragma once

#include "../host.h"

#define TH_KIND_LR_SCHEDULER "th.kind.lr_scheduler/1"

typedef struct th_lr_scheduler th_lr_scheduler;

typedef struct th_schedule_values {
  uint32_t struct_size, reserved;
  double learning_rate;           /* of a parameter whose lr_scale is 1; finite, >= 0 */
  double weight_decay_multiplier; /* preset to 1 by the host */
  double momentum;                /* preset to NaN: the optimizer's own */
  th_string stage;                /* "warmup", "stable", "decay", ...: shown and logged; static memory */
} th_schedule_values;

typedef struct th_lr_scheduler_api {
  uint32_t struct_size, reserved;
  /* One instance per phase that changes a schedule parameter. run: the run's totals, with step and tokens 0. On failure *out is
   * untouched. [init] */
  th_status (*create)(const th_host *, const th_config *, const th_progress *run, th_lr_scheduler **out);
  void (*destroy)(th_lr_scheduler *); /* [init] */
  /* The values for the step that starts at this progress. Same progress, same values, bit for bit, in any order of calls and in any
   * process. [any-thread] */
  th_status (*values)(const th_lr_scheduler *, const th_progress *, th_schedule_values *out);
  const void *(*get_extension)(const th_lr_scheduler *, th_string id); /* slot may be null; [init] */
} th_lr_scheduler_api;
