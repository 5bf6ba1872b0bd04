/* Tensors across the boundary: views in DLPack's numbering. */
#pragma once

#include "status.h"

/* DLPack device types and dtype codes. */
#define TH_DEVICE_CPU 1
#define TH_DEVICE_CUDA 2
#define TH_DTYPE_INT 0
#define TH_DTYPE_UINT 1
#define TH_DTYPE_FLOAT 2
#define TH_DTYPE_BFLOAT 4

/* A view of memory that somebody else owns; field for field DLPack's DLTensor (1.x), so any DLPack reader can wrap it.
 * data may be null only where a slot says so. strides are in elements; null means contiguous, row-major. shape and strides live
 * as long as the call unless a slot says more. */
typedef struct th_tensor {
  void *data;
  int32_t device_type, device_index;
  int32_t rank;
  uint8_t dtype_code, dtype_bits;
  uint16_t dtype_lanes; /* always 1 */
  int64_t *shape, *strides;
  uint64_t byte_offset;
} th_tensor;
