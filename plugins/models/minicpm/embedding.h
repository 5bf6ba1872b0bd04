// The first unit: tokens to rows of the embedding, times scale_emb.
#pragma once

#include "batch.h"
#include "configuration.h"
#include "kernels/kernels.h"

namespace trainhost::minicpm {

class Embedding {
 public:
  Embedding(const sdk::Host &host, const Configuration &configuration);
  // output [R, C] from table [V, C].
  void forward(const Batch &batch, const float *table, float *output) const;
  // table_gradient [V, C] from output_gradient [R, C], added or overwritten.
  void backward(const Batch &batch, const float *output_gradient, float *table_gradient, bool add) const;

 private:
  sdk::Host host_;
  const Kernels &kernels_;
  int64_t width_, vocabulary_;
  float scale_;
};

}  // namespace trainhost::minicpm
