#include "configuration.h"

#include <cmath>
#include <string>

namespace trainhost::minicpm {
namespace {

using sdk::Failure;
using std::to_string;

void check_heads(const Configuration &configuration) {
  const int64_t width = configuration.width, heads = configuration.heads, kv_heads = configuration.kv_heads;
  if (width % heads != 0) {
    throw Failure(TH_INVALID, "width " + to_string(width) + " is not a multiple of heads " + to_string(heads) +
                                  "; the nearest that is: " + to_string((width + heads - 1) / heads * heads));
  }
  if (width / heads % 2 != 0) {
    throw Failure(TH_INVALID, "width / heads is " + to_string(width / heads) + ", but rotary positions need an even head dimension");
  }
  if (heads % kv_heads != 0) {
    throw Failure(TH_INVALID, "heads " + to_string(heads) + " is not a multiple of kv_heads " + to_string(kv_heads));
  }
}

}  // namespace

Configuration::Configuration(const sdk::Config &config, const th_model_options &options)
    : layers(config.integer("layers")),
      width(config.integer("width")),
      heads(config.integer("heads")),
      kv_heads(config.integer("kv_heads") == 0 ? heads : config.integer("kv_heads")),
      feed_forward(config.integer("feed_forward")),
      vocabulary(options.vocabulary_size),
      sequence_length(options.sequence_length),
      tied_embeddings(config.boolean("tied_embeddings")),
      embeddings_as_matrices(config.boolean("embeddings_as_matrices")),
      rope_theta(config.number("rope_theta")),
      norm_epsilon(config.number("norm_epsilon")),
      scale_emb(config.number("scale_emb")),
      scale_depth(config.number("scale_depth")),
      dim_model_base(static_cast<double>(config.integer("dim_model_base"))),
      init_std(config.number("init_std")) {
  check_heads(*this);
}

float Configuration::residual_scale() const { return static_cast<float>(scale_depth / std::sqrt(static_cast<double>(layers))); }

}  // namespace trainhost::minicpm
