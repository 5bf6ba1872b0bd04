// Whether a held-out loss moved by more than chance, judged on the same windows before and after.
#pragma once

#include <span>

namespace trainhost {

struct PairedDifference {
  double mean = 0;   // after less before, per counted token
  double sigma = 0;  // standard error of it; NaN with fewer than two windows that count
};

// Losses are sums over each window's counted tokens. The mean is a ratio of sums over windows, and so sigma that of a ratio (W. G.
// Cochran, Sampling Techniques, 3rd ed., 2.11, of infinitely many windows): with d the differences, n the tokens, N their sum, m windows
// and e = d - mean * n, the root of m / (m - 1) * sum(e^2) / N^2. What is alike in both losses, as how hard a window is, drops out.
PairedDifference paired_difference(std::span<const double> before, std::span<const double> after, std::span<const double> tokens);

}  // namespace trainhost
