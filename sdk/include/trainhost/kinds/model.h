/* Model: an ordered list of units, each a pure function with a hand-called backward.
 *
 * The host owns parameters, gradients and the activations between units, and decides what is kept, recomputed, sharded and where
 * each unit runs. Unit 0 takes tokens; the last unit takes targets and gives the loss; every other maps [tokens, C] to [tokens, C].
 * B sequences, T tokens each, tokens = B*T, C width, V vocabulary. */
#pragma once

#include "../host.h"
#include "../parameter.h"

#define TH_KIND_MODEL "th.kind.model/1"

typedef struct th_model th_model;
typedef struct th_saved th_saved; /* what a unit keeps from forward for backward; the plugin's own */

typedef struct th_model_options {
  uint32_t struct_size, vocabulary_size;
  int32_t device_type, device_index;
  uint8_t compute_code, compute_bits; /* dtype of parameters and activations: float 32 or bfloat 16 */
  uint16_t outline;         /* 1: nothing will be run; only infos and th.model.memory/1 are asked for, and the device need not be here */
  uint32_t sequence_length; /* the longest that will be asked for */
  uint64_t tokens;          /* the largest micro-batch, B*T */
} th_model_options;

typedef struct th_unit_info {
  uint32_t struct_size, parameter_count;
  const uint32_t *parameters; /* indices; a tied parameter is listed by each unit that uses it, its gradient is the sum */
  th_string name;
  uint64_t output_width;          /* C; 0 for the last unit */
  double forward_flops_per_token; /* multiply-adds count 2; attention at the full sequence_length, causal half */
} th_unit_info;

/* One micro-batch in device memory, valid until it is done. */
typedef struct th_batch {
  uint32_t struct_size, sequences, sequence_length, document_count;
  th_tensor tokens, targets; /* [B, T] int32, ids below vocabulary_size (checked by the host) */
  th_tensor loss_weights;    /* [B, T] float32, 0 for tokens that do not count */
  th_tensor positions;       /* [B, T] int32, from 0 in each document */
  th_tensor document_starts; /* [document_count + 1] int32 offsets into B*T, every sequence start among them; a token attends to
                                its own document only */
  double loss_scale;         /* 1 / (sum of loss_weights over all micro-batches and ranks) */
  th_tensor token_losses;    /* [B, T] float32 to be filled with unweighted token losses in nats, or data null */
} th_batch;

/* Parameter lifetimes: what the host promises about the parameters given to forward. */
#define TH_KEEP_DURING_CALL 0    /* they may be gone or elsewhere when backward comes (sharded) */
#define TH_KEEP_UNTIL_BACKWARD 1 /* same addresses and values until this unit's backward returns */
/* Gradient modes, one per parameter: a tied parameter is added to in its second unit of the same pass. */
#define TH_GRADIENT_OVERWRITE 0
#define TH_GRADIENT_ADD 1

typedef struct th_call {
  uint32_t struct_size;
  int32_t training; /* 0: evaluate; nothing will be asked back, *saved stays null */
  int32_t parameter_lifetime;
  int32_t keep;                 /* when training, 0: *saved stays null, and the unit is run again with keep 1 before its backward */
  void *stream;                 /* CUDA: enqueue here, never synchronise; CPU: null */
  uint64_t seed, random_stream; /* for th.rng/1: of this unit and micro-batch alone; the same again in its backward and when recomputed */
} th_call;

typedef struct th_model_api {
  uint32_t struct_size, reserved;
  /* Checks the parameters against each other and the options; on failure *out is untouched. [init] */
  th_status (*create)(const th_host *, const th_config *, const th_model_options *, th_model **out);
  void (*destroy)(th_model *); /* [init] */
  /* Counts and infos are constant for an instance; what they point to is the instance's. [any-thread] */
  uint32_t (*parameter_count)(const th_model *);
  th_status (*parameter_info)(const th_model *, uint32_t index, th_parameter_info *out);
  uint32_t (*unit_count)(const th_model *); /* at least 2: the first takes tokens, the last gives the loss */
  th_status (*unit_info)(const th_model *, uint32_t unit, th_unit_info *out);

  /* parameters: the unit's, in the order of its info, compute dtype, contiguous, read-only. input: [tokens, C], data null for unit 0.
   * output: [tokens, C] to be filled; for the last unit [1] float32: the sum of loss_weights * token loss * loss_scale.
   * *saved: set when training, keep is 1 and the unit wants something kept; the host gives it back to exactly one backward or release.
   * Same arguments, same bits: a unit is recomputed by calling it again. [step] */
  th_status (*forward)(th_model *, uint32_t unit, const th_call *, const th_batch *, const th_tensor *parameters, const th_tensor *input,
                       th_tensor *output, th_saved **saved);
  /* input: the values of forward's, maybe at another place. output_gradient: [tokens, C], data null for the last unit (it is 1).
   * input_gradient: [tokens, C] to be filled, data null for unit 0; it may be the same memory as output_gradient.
   * parameter_gradients: float32, the unit's, contiguous; gradient_modes: one each. saved is consumed, also on failure. [step] */
  th_status (*backward)(th_model *, uint32_t unit, const th_call *, const th_batch *, const th_tensor *parameters, const th_tensor *input,
                        th_saved *saved, const th_tensor *output_gradient, th_tensor *input_gradient, th_tensor *parameter_gradients,
                        const uint32_t *gradient_modes);
  void (*release)(th_model *, th_saved *saved); /* [step] */
  /* The last unit's forward and backward in one; slot may be null: then the host calls the two. It lets a chunked head turn each
   * piece of the logits into gradients at once, so that [tokens, V] never exists. [step] */
  th_status (*loss_and_backward)(th_model *, const th_call *, const th_batch *, const th_tensor *parameters, const th_tensor *input,
                                 th_tensor *loss, th_tensor *input_gradient, th_tensor *parameter_gradients,
                                 const uint32_t *gradient_modes);
  const void *(*get_extension)(const th_model *, th_string id); /* slot may be null; [init] */
} th_model_api;
