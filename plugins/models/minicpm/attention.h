// Causal grouped-query attention inside each document, with its rotary positions.
#pragma once

#include <vector>

#include "batch.h"
#include "configuration.h"
#include "kernels/kernels.h"

namespace trainhost::minicpm {

// R rows (tokens), H heads, K key-value heads, D head dimension. qkv [R, (H + 2K) D]: queries, keys, values.
class Attention {
 public:
  Attention(const sdk::Host &host, const Configuration &configuration);

  // qkv without positions becomes qkv with them; output [R, H D]; log_sum_exp [H, R] is kept for backward.
  void forward(const Batch &batch, float *qkv, float *output, float *log_sum_exp, float *scratch) const;
  // qkv, as forward left it, becomes the gradient of qkv as it was before forward.
  void backward(const Batch &batch, float *qkv, const float *output, const float *log_sum_exp, const float *output_gradient,
                float *scratch) const;
  // Floats of scratch that either needs.
  int64_t scratch_size(const BatchShape &shape) const;

 private:
  struct Document {
    int64_t first, length;  // rows
  };
  template <class Task>
  void for_each_document(const Batch &batch, int64_t heads, float *scratch, Task &&task) const;
  void document_forward(Document document, int64_t head, const float *qkv, float *output, float *log_sum_exp, float *scores) const;
  void document_backward(Document document, int64_t kv_head, float *qkv, const float *output, const float *log_sum_exp,
                         const float *output_gradient, int64_t rows, float *scratch) const;
  void rotate(const Batch &batch, float *qkv, float direction) const;
  int64_t lane_size(const BatchShape &shape) const;

  sdk::Host host_;
  const Kernels &kernels_;
  int64_t heads_, kv_heads_, group_, head_dimension_, qkv_width_, positions_;
  float scale_;                       // of the scores: 1 / sqrt(D)
  std::vector<float> cosine_, sine_;  // [positions, D/2]
};

}  // namespace trainhost::minicpm
