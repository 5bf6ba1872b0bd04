// What the recipe says about the model, checked, and the numbers that follow from it.
#pragma once

#include <cstdint>

#include "trainhost/cpp/model.hpp"

namespace trainhost::minicpm {

struct Configuration {
  // Throws Failure TH_INVALID where parameters contradict each other.
  Configuration(const sdk::Config &config, const th_model_options &options);

  int64_t layers, width, heads, kv_heads, feed_forward;
  int64_t vocabulary, sequence_length;
  bool tied_embeddings, embeddings_as_matrices;
  double rope_theta, norm_epsilon, scale_emb, scale_depth, dim_model_base, init_std;

  int64_t head_dimension() const { return width / heads; }
  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_dimension(); }
  double width_ratio() const { return static_cast<double>(width) / dim_model_base; }
  float residual_scale() const;  // of each branch before it is added: scale_depth / sqrt(layers)
  float logit_scale() const { return static_cast<float>(1 / width_ratio()); }
};

}  // namespace trainhost::minicpm
