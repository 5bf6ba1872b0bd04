#include "embedding.h"

#include <algorithm>

namespace trainhost::minicpm {

Embedding::Embedding(const sdk::Host &host, const Configuration &configuration)
    : host_(host),
      kernels_(kernels()),
      width_(configuration.width),
      vocabulary_(configuration.vocabulary),
      scale_(static_cast<float>(configuration.scale_emb)) {}

void Embedding::forward(const Batch &batch, const float *table, float *output) const {
  host_.parallel_for(batch.rows, 16,
                     [&](int64_t begin, int64_t end) { kernels_.embed(table, batch.tokens, scale_, width_, begin, end, output); });
}

void Embedding::backward(const Batch &batch, const float *output_gradient, float *table_gradient, bool add) const {
  if (!add) {
    host_.parallel_for(vocabulary_, 64, [&](int64_t begin, int64_t end) {
      std::fill(table_gradient + begin * width_, table_gradient + end * width_, 0.0f);
    });
  }
  host_.parallel_for(width_, 32, [&](int64_t begin, int64_t end) {
    kernels_.embed_backward(output_gradient, batch.tokens, scale_, batch.rows, width_, begin, end, table_gradient);
  });
}

}  // namespace trainhost::minicpm
