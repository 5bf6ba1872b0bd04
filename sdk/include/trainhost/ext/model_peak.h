/* Optional interface of a model: how fast its matrix products can go on this device, for the utilisation shown to the user. */
#pragma once

#include "../kinds/model.h"

#define TH_EXT_MODEL_PEAK "th.model.peak/1"

typedef struct th_model_peak {
  uint32_t struct_size, reserved;
  /* Measures the floating-point operations per second of large matrix products in the compute dtype, with all threads, in at most
   * half a second. [step] */
  th_status (*measure)(th_model *, double *flops_per_second);
} th_model_peak;
