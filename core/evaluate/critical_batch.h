// How large a batch may be: the trade of steps against tokens (McCandlish et al., arXiv 1812.06162).
#pragma once

#include <optional>
#include <span>

namespace trainhost {

// What one batch size took to reach a loss; the mean batch is tokens / steps.
struct ReachedLoss {
  double steps = 0, tokens = 0;
};

// (S / S_min - 1) (E / E_min - 1) = 1 for S steps of E tokens: with small batches E tends to E_min, with large ones S to S_min.
struct CriticalBatch {
  double least_steps = 0, least_tokens = 0;  // S_min, E_min
  double r_squared = 0;                      // of log S against the law's at the same mean batch

  // With it, steps and tokens are twice their least.
  double batch() const { return least_tokens / least_steps; }
};

// By least squares of the relative error of S = S_min + E_min / batch, the law solved for S. nullopt when the points tell no such law:
// fewer than three, all of one batch, numbers that are not positive, or a fit in which steps or tokens have no least above zero.
std::optional<CriticalBatch> fit_critical_batch(std::span<const ReachedLoss> points);

}  // namespace trainhost
