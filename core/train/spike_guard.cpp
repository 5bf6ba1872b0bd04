#include "train/spike_guard.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace trainhost {
namespace {

std::string judge_one(std::string_view name, double value, std::deque<double> &window) {
  std::string verdict;
  if (window.size() >= SpikeGuard::kLeast) {
    double sum = 0, squares = 0;
    for (const double seen : window) sum += seen;
    const double mean = sum / static_cast<double>(window.size());
    for (const double seen : window) squares += (seen - mean) * (seen - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(window.size()));
    if (value > mean + SpikeGuard::kDeviations * deviation) {
      verdict = fmt::format("{} {:.4g} is {:.1f} standard deviations above its mean of {:.4g}", name, value,
                            (value - mean) / std::max(deviation, 1e-12), mean);
    }
  }
  window.push_back(value);
  if (window.size() > SpikeGuard::kWindow) window.pop_front();
  return verdict;
}

}  // namespace

std::string SpikeGuard::judge(double loss, double gradient_norm) {
  const std::string by_loss = judge_one("loss", loss, losses);
  const std::string by_norm = judge_one("gradient norm", gradient_norm, gradient_norms);
  return by_loss.empty() ? by_norm : by_loss;
}

}  // namespace trainhost
