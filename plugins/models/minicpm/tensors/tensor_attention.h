// Causal grouped-query attention inside each document, with its rotary positions.
#pragma once

#include <optional>

#include "configuration.h"
#include "tensors/fused_attention.h"

namespace trainhost::minicpm {

// R rows (tokens), H heads, K key-value heads, D head dimension. qkv [R, (H + 2K) D]: queries, keys, values.
class TensorAttention {
 public:
  TensorAttention(const Configuration &configuration, at::Device device, at::ScalarType dtype);

  struct Result {
    at::Tensor output;  // [R, H D]
    std::optional<FusedAttention> fused;
  };
  // qkv without positions becomes qkv with them.
  Result forward(const TensorBatch &batch, const at::Tensor &qkv) const;
  // The gradient of qkv as it was before forward, from qkv as forward left it.
  at::Tensor backward(const TensorBatch &batch, const at::Tensor &qkv, const Result &forward, const at::Tensor &output_gradient) const;

 private:
  void rotate(const TensorBatch &batch, const at::Tensor &qkv, double direction) const;

  int64_t heads_, kv_heads_, head_dimension_;
  double scale_;  // of the scores: 1 / sqrt(D)
  bool has_fused_;
  at::Tensor cosine_, sine_;  // [positions, D/2] float32
};

}  // namespace trainhost::minicpm
