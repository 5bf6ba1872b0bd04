/* Optimizer: one call updates every parameter that this process holds. */
#pragma once

#include "../host.h"
#include "../parameter.h"

#define TH_KIND_OPTIMIZER "th.kind.optimizer/1"

typedef struct th_optimizer th_optimizer;

#define TH_GRANULARITY_ELEMENT 0 /* each element on its own: the host may cut anywhere */
#define TH_GRANULARITY_TENSOR 1  /* needs the whole parameter (norms): the host cuts between parameters */
#define TH_GRANULARITY_MATRIX 2  /* needs the whole 2-D parameter; likewise */

/* A state tensor that the host keeps for a parameter: allocated, saved, cut and handed back by the host. */
typedef struct th_state_info {
  uint32_t struct_size;
  int32_t rank;   /* -1: the parameter's own shape, cut as it is cut; 0: one scalar; else `shape` */
  th_string name; /* "exp_avg": its name in checkpoints */
  int64_t shape[4];
  uint8_t dtype_code, dtype_bits; /* float 32; from ABI 1.1 on also bfloat 16 */
  uint16_t reserved;
  uint32_t reserved2;
  double initial; /* of every element, rounded to its dtype; what begins otherwise is added to it in update */
} th_state_info;

/* One parameter, or the piece of it that this process holds: then master, gradient, compute_copy and states like the parameter have rank 1
 * and the piece's length. With TENSOR and MATRIX every parameter is whole, of the shape in its info; only then states may have a shape of
 * their own. All tensors are contiguous. */
typedef struct th_update {
  const th_parameter_info *info;
  th_tensor master;               /* float32, updated in place */
  th_tensor gradient;             /* float32, read only, finite; the host resets it afterwards */
  th_tensor compute_copy;         /* bfloat16 to be written with the rounded result, or data null */
  const th_tensor *states;        /* in the order of describe_states */
  double learning_rate;           /* the schedule's x the parameter's lr_scale */
  double weight_decay_multiplier; /* times the optimizer's own weight decay; 0 where the parameter is never decayed */
} th_update;

typedef struct th_update_call {
  uint32_t struct_size, reserved;
  uint64_t step;               /* updates already applied to these parameters: 0 at the first */
  const float *gradient_scale; /* device memory: every gradient is multiplied by it (clipping) */
  double momentum;             /* NaN: the optimizer's own */
  void *stream;
  void *workspace; /* device memory, aligned to 64 bytes, of undefined contents: at least the bytes asked for; of 0 maybe null */
} th_update_call;

typedef struct th_optimizer_api {
  uint32_t struct_size, reserved;
  /* An instance holds parameters only, no state: each phase that changes one has an instance of its own over the same states, and is
   * refused where that describes others. On failure *out is untouched. [init] */
  th_status (*create)(const th_host *, const th_config *, th_optimizer **out);
  void (*destroy)(th_optimizer *);              /* [init] */
  int32_t (*granularity)(const th_optimizer *); /* [any-thread] */
  /* Writes up to `capacity` states of a parameter; *count is how many there are. Names and shapes depend on the parameter and the
   * configuration only. [init] */
  th_status (*describe_states)(const th_optimizer *, const th_parameter_info *, th_state_info *out, uint32_t capacity, uint32_t *count);
  /* All or nothing: on failure no element has changed. On CUDA enqueued on the stream. No allocation, no synchronisation. [step] */
  th_status (*update)(th_optimizer *, const th_update_call *, const th_update *updates, uint32_t count);
  const void *(*get_extension)(const th_optimizer *, th_string id); /* slot may be null; [init] */
  /* Bytes that update needs beside what it is given. parameters: those of each coming update, or whose pieces it will be given. The host
   * keeps one workspace for the instances of all phases. Slot may be null: none. [init] */
  th_status (*workspace)(const th_optimizer *, const th_parameter_info *const *parameters, uint32_t count, uint64_t *bytes);
} th_optimizer_api;
