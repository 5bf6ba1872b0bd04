// Whether two quantities put the same things in the same order.
#pragma once

#include <span>

namespace trainhost {

// Spearman's rank correlation coefficient (Am. J. Psychol. 15, 1904): Pearson's of the ranks, equal values sharing the mean of theirs.
// 1: one order; -1: the reverse. NaN when all values on one side are equal, which those of fewer than two pairs are. Values are finite.
double rank_correlation(std::span<const double> a, std::span<const double> b);

}  // namespace trainhost
