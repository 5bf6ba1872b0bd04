/* Optional interface of a model: the logits themselves, for generation and for comparing with other software. */
#pragma once

#include "../kinds/model.h"

#define TH_EXT_MODEL_LOGITS "th.model.logits/1"

typedef struct th_model_logits {
  uint32_t struct_size, reserved;
  /* Logits of the last unit for `count` chosen positions. parameters and input: as in the last unit's forward. rows: indices into
   * [0, B*T). output: [count, V] float32 to be filled. [step] */
  th_status (*logits)(th_model *, const th_call *, const th_batch *, const th_tensor *parameters, const th_tensor *input,
                      const int32_t *rows, uint32_t count, th_tensor *output);
} th_model_logits;
