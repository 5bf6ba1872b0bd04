// The gradient noise scale: how many tokens a batch may have before more of them hardly lower the noise of its gradient.
#pragma once

namespace trainhost {

// Squared norms of the gradients of two batches, each gradient a mean over its batch. Batches in tokens, 0 < small_batch < big_batch.
struct BatchGradients {
  double small_batch = 0, small_square = 0;
  double big_batch = 0, big_square = 0;
};

// Unbiased, so each may be below 0.
struct NoiseEstimate {
  double gradient_square = 0;  // of the gradient without noise
  double trace = 0;            // of the covariance of one token's gradient
};

// McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1.
NoiseEstimate estimate_noise(const BatchGradients &gradients);

// The estimates of many steps: B_simple = trace / gradient_square, each smoothed by itself with an exponential mean of 0.99, since a mean
// of quotients would be biased. The means begin at 0, which takes the same share of both and none of their quotient.
struct NoiseScale {
  double gradient_square = 0, trace = 0;  // the means so far

  void add(const NoiseEstimate &estimate);
  // In tokens; NaN before the first estimate, and while the noise hides the gradient.
  double value() const;
};

}  // namespace trainhost
