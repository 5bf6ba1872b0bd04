#include "decay.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace {

using trainhost::sdk::Failure;

// Most shapes are a g that falls from 1 to 0, set between the peak and the floor (arXiv 2405.18392).
double between(const DecayParameters &p, double g) { return p.floor + (1 - p.floor) * g; }
double cosine_of(double x) { return 0.5 * (1 + std::cos(std::numbers::pi * x)); }

double one_minus_sqrt(const DecayParameters &p, double x) { return between(p, 1 - std::sqrt(x)); }
double linear(const DecayParameters &p, double x) { return between(p, 1 - x); }
double cosine(const DecayParameters &p, double x) { return between(p, cosine_of(x)); }
double mirror_cosine(const DecayParameters &p, double x) { return between(p, 2 * (1 - x) - cosine_of(x)); }
double square(const DecayParameters &p, double x) { return between(p, 1 - x * x); }
double power(const DecayParameters &p, double x) { return between(p, std::pow(1 - x, p.exponent)); }
double one_minus_power(const DecayParameters &p, double x) { return between(p, 1 - std::pow(x, p.exponent)); }
// Linear from a reduced level: the learning rate steps down as the decay starts (arXiv 2508.01483).
double lowered_linear(const DecayParameters &p, double x) { return between(p, p.lowered_level * (1 - x)); }
// The floor itself is the base, so the decay ends there.
double exponential(const DecayParameters &p, double x) { return std::pow(p.floor, x); }
// MiniCPM's: 0.5^(tokens of decay / half_life). The paper prints s - S for the exponent, which would grow; the start of the decay is
// meant.
double half_life(const DecayParameters &p, double x) { return std::exp2(-x * p.length / p.half_life); }

struct Shape {
  std::string_view name;
  double (*share)(const DecayParameters &, double x);
};
constexpr Shape kShapes[] = {{"one_minus_sqrt", one_minus_sqrt},   {"linear", linear},           {"cosine", cosine},
                             {"mirror_cosine", mirror_cosine},     {"square", square},           {"power", power},
                             {"one_minus_power", one_minus_power}, {"exponential", exponential}, {"half_life", half_life},
                             {"lowered_linear", lowered_linear}};

void check(const DecayParameters &p, std::string_view shape) {
  if (shape == "exponential" && p.floor <= 0) {
    throw Failure(TH_INVALID, "shape = \"exponential\" with floor = 0 stops learning at once; expected a floor above 0, as 0.01");
  }
  if (shape == "half_life" && p.floor != 0) {
    throw Failure(TH_INVALID,
                  "shape = \"half_life\" with floor = " + std::to_string(p.floor) + "; it halves without a floor: expected floor = 0");
  }
}

}  // namespace

Decay::Decay(const trainhost::sdk::Config &config, double length)
    : parameters_{.length = length,
                  .floor = config.number("floor"),
                  .exponent = config.number("exponent"),
                  .half_life = config.amount("half_life"),
                  .lowered_level = config.number("lowered_level")} {
  const std::string name = config.string("shape");
  check(parameters_, name);
  const auto *shape = std::ranges::find(kShapes, name, &Shape::name);
  if (shape == std::end(kShapes)) throw Failure(TH_INVALID, "no decay shape is called \"" + name + "\"");
  shape_ = shape->share;
}
