// A layer: attention and feed-forward, each on the normalised stream and added to it.
#pragma once

#include "attention.h"
#include "parameters.h"
#include "rms_norm.h"
#include "scratch.h"

namespace trainhost::minicpm {

class Block {
 public:
  Block(const sdk::Host &host, const Configuration &configuration);

  // What backward needs of forward, R rows: all else is computed again from it.
  enum Kept { kAttentionRms, kQkvRotated, kLogSumExp, kAttended, kMiddle, kFeedForwardRms, kGateAndUp, kKeptParts };
  using Saved = Scratch<kKeptParts>;

  // output [R, C] from input [R, C]; parameters in the order of BlockParameter.
  Saved forward(const Batch &batch, const float *const *parameters, const float *input, float *output) const;
  // input_gradient [R, C] may be output_gradient. add[i]: parameter_gradients[i] is added to, else overwritten. Consumes what was saved.
  void backward(const Batch &batch, const float *const *parameters, const float *input, Saved saved, const float *output_gradient,
                float *input_gradient, float *const *parameter_gradients, const bool *add) const;
  MemoryUse memory(const BatchShape &shape) const;

 private:
  enum { kNormed, kHidden, kNormParts, kAttentionLanes, kWorkingParts };
  using Working = Scratch<kWorkingParts>;
  Saved::Counts kept(const BatchShape &shape) const;
  Working::Counts worked(const BatchShape &shape) const;

  sdk::Host host_;
  const Kernels &kernels_;
  Attention attention_;
  RmsNorm norm_;
  int64_t width_, heads_, qkv_width_, feed_forward_;
  float residual_scale_;
};

}  // namespace trainhost::minicpm
