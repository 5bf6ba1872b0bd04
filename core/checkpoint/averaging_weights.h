// With which weights the checkpoints of a run are averaged.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/status.h"

namespace trainhost {

struct AveragingRule {
  // "mean" and "polyak" (the mean of all that a run has): 1 / n.
  // "ema": e <- alpha e + (1 - alpha) x, from the oldest on.
  // "wsm" (arXiv 2507.17634): what a decay of this shape would have weighted the updates between the checkpoints with.
  std::string method = "mean";
  double alpha = 0;                      // of ema, between 0 and 1
  std::string shape = "one_minus_sqrt";  // of wsm; or linear, cosine, mirror_cosine, square
};

// One weight for each of `count` checkpoints, oldest first; none is negative, and they sum to 1. With wsm, c_j = w_j - w_{j+1}, where
// w_i = g(i / count) for the decay's g, so that w_count = 0: the sum of c_j x_j is x_0 less the sum of w_i u_i, u_i = x_{i-1} - x_i.
// kUsage for a method, shape or alpha that is none.
Result<std::vector<double>> averaging_weights(const AveragingRule &rule, size_t count);

// "mean", "ema with alpha 0.9", "wsm with shape linear".
std::string describe(const AveragingRule &rule);

}  // namespace trainhost
