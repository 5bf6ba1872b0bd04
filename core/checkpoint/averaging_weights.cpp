#include "checkpoint/averaging_weights.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include <fmt/format.h>

namespace trainhost {
namespace {

double cosine_of(double x) { return 0.5 * (1 + std::cos(std::numbers::pi * x)); }

// The decays of the learning rate that fall from 1 to 0 and never rise (arXiv 2405.18392): those of the scheduler wsd.
struct Shape {
  std::string_view name;
  double (*share)(double x);
};
constexpr Shape kShapes[] = {{"linear", [](double x) { return 1 - x; }},
                             {"cosine", cosine_of},
                             {"mirror_cosine", [](double x) { return 2 * (1 - x) - cosine_of(x); }},
                             {"square", [](double x) { return 1 - x * x; }},
                             {"one_minus_sqrt", [](double x) { return 1 - std::sqrt(x); }}};

std::vector<double> of_moving_average(double alpha, size_t count) {
  std::vector<double> weights(count);
  double left = 1;  // what the newer ones leave
  for (size_t j = count; j-- > 1; left *= alpha) weights[j] = left * (1 - alpha);
  weights[0] = left;
  return weights;
}

Result<std::vector<double>> of_decay(const std::string &name, size_t count) {
  const auto *shape = std::ranges::find(kShapes, name, &Shape::name);
  if (shape == std::end(kShapes)) {
    std::string names;
    for (const Shape &known : kShapes) names += (names.empty() ? "" : ", ") + std::string(known.name);
    return failure(ErrorKind::kUsage, "--shape is \"" + name + "\", expected one of " + names);
  }
  std::vector<double> weights;
  for (size_t j = 0; j < count; ++j) {
    const double n = static_cast<double>(count), next = j + 1 < count ? shape->share(static_cast<double>(j + 1) / n) : 0;
    weights.push_back(shape->share(static_cast<double>(j) / n) - next);
  }
  return weights;
}

}  // namespace

Result<std::vector<double>> averaging_weights(const AveragingRule &rule, size_t count) {
  if (rule.method == "mean" || rule.method == "polyak") return std::vector(count, 1 / static_cast<double>(count));
  if (rule.method == "wsm") return of_decay(rule.shape, count);
  if (rule.method != "ema") return failure(ErrorKind::kUsage, "--method is \"" + rule.method + "\", expected mean, ema, polyak or wsm");
  if (!(rule.alpha > 0 && rule.alpha < 1))
    return failure(ErrorKind::kUsage, fmt::format("--alpha is {}, expected more than 0 and less than 1", rule.alpha));
  return of_moving_average(rule.alpha, count);
}

std::string describe(const AveragingRule &rule) {
  if (rule.method == "ema") return fmt::format("ema with alpha {}", rule.alpha);
  if (rule.method == "wsm") return "wsm with shape " + rule.shape;
  return rule.method;
}

}  // namespace trainhost
