// What every kind of attention takes.
#pragma once

#include "tensors/tensor_batch.h"

namespace trainhost::minicpm {

// Queries [R, H, D] and keys and values [R, K, D] with their positions, H a multiple of K; the last dimension is contiguous, the others
// are those of one matrix [R, (H + 2K) D].
struct AttentionInputs {
  AttentionInputs(const at::Tensor &qkv, int64_t heads, int64_t kv_heads)
      : q(part(qkv, heads, kv_heads, 0, heads)),
        k(part(qkv, heads, kv_heads, heads, kv_heads)),
        v(part(qkv, heads, kv_heads, heads + kv_heads, kv_heads)) {}

  at::Tensor q, k, v;

 private:
  static at::Tensor part(const at::Tensor &qkv, int64_t heads, int64_t kv_heads, int64_t first, int64_t count) {
    return qkv.view({qkv.size(0), heads + 2 * kv_heads, -1}).narrow(1, first, count);
  }
};

}  // namespace trainhost::minicpm
