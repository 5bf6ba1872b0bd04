#include "evaluate/weak_source.h"

#include <cmath>
#include <limits>

namespace trainhost {
namespace {

std::vector<double> losses_of(const std::string &source, const std::vector<LossPanel> &panels) {
  std::vector<double> losses;
  for (const LossPanel &panel : panels) losses.push_back(panel.at(source));
  return losses;
}

}  // namespace

std::optional<std::string> weakest_source(const LossPanel &losses, const LossPanel &targets) {
  std::optional<std::string> weakest;
  double most = 0;
  for (const auto &[source, loss] : losses) {
    const auto target = targets.find(source);
    if (target == targets.end()) continue;
    const double excess = std::isfinite(loss) ? loss - target->second : std::numeric_limits<double>::infinity();
    if (excess <= most) continue;
    most = excess;
    weakest = source;
  }
  return weakest;
}

std::map<std::string, double> strengthened(const std::map<std::string, double> &mix, const std::string &source, double share) {
  std::map<std::string, double> proposed;
  for (const auto &[name, present] : mix) proposed[name] = (1 - share) * present;
  proposed[source] += share;
  return proposed;
}

MixVerdict judge_mix(const std::string &weak, const std::vector<LossPanel> &present, const std::vector<LossPanel> &proposed) {
  MixVerdict verdict;
  for (const auto &[source, loss] : present.front()) {
    const auto before = losses_of(source, present), after = losses_of(source, proposed);
    MixEffect effect{.source = source, .present = summarise(before), .proposed = summarise(after), .test = {}};
    effect.test = welch_test(effect.present, effect.proposed);
    if (source == weak) {
      verdict.gain = -effect.change();
      verdict.significant = effect.test && effect.test->p < kSignificant;
      for (size_t seed = 0; seed < before.size(); ++seed) verdict.seeds_better += after[seed] < before[seed] ? 1 : 0;
    } else {
      verdict.cost += effect.change();
    }
    verdict.effects.push_back(std::move(effect));
  }
  return verdict;
}

}  // namespace trainhost
