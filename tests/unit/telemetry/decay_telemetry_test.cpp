// A36: gradient descent on a quadratic, whose derivatives are known.
#include "telemetry/decay_telemetry.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

using Vector = std::array<double, 3>;

double dot(const Vector &a, const Vector &b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// Loss 1/2 x A x.
constexpr std::array<Vector, 3> kA{{{4, 1, 0.5}, {1, 3, 0.2}, {0.5, 0.2, 0.7}}};
Vector gradient(const Vector &x) { return {dot(kA[0], x), dot(kA[1], x), dot(kA[2], x)}; }

TEST(DecayTelemetry, A36IsExactOnAQuadratic) {
  constexpr double kRate = 0.05;
  Vector x{1.5, -2, 3};
  for (int step = 0; step < 20; ++step) {
    const Vector g = gradient(x), v{-kRate * g[0], -kRate * g[1], -kRate * g[2]};
    for (size_t i = 0; i < 3; ++i) x[i] += v[i];
    const Vector h = gradient(x);
    const DecayTelemetry measured =
        decay_telemetry({.gg = dot(g, g), .gh = dot(g, h), .hh = dot(h, h), .gv = dot(g, v), .hv = dot(h, v), .vv = dot(v, v)});
    // Along u = g / |g| the loss after the update has the derivatives -h u and u A u, and h = g - rate A g.
    const double length = std::sqrt(dot(g, g)), second = dot(g, gradient(g)) / dot(g, g);
    const double first = -length * (1 - kRate * second);
    EXPECT_NEAR(measured.d1 / first, 1, 1e-6);
    EXPECT_NEAR(measured.d2 / second, 1, 1e-6);
    EXPECT_NEAR(measured.curvature / (second / std::pow(1 + first * first, 1.5)), 1, 1e-6);
    EXPECT_NEAR(measured.gradient_cosine, length * (1 - kRate * second) / std::sqrt(dot(h, h)), 1e-6);
  }
}

TEST(DecayTelemetry, TurnsNegativeWhenAStepGoesTooFar) {
  const DecayTelemetry measured = decay_telemetry({.gg = 4, .gh = -2, .hh = 1, .gv = -8, .hv = 4, .vv = 16});
  EXPECT_DOUBLE_EQ(measured.gradient_cosine, -1);
  EXPECT_DOUBLE_EQ(measured.d1, 1) << "the loss rises beyond the bottom";
  EXPECT_DOUBLE_EQ(measured.d2, 0.75);
}

TEST(DecayTelemetry, IsUnknownWithoutAnUpdate) {
  const DecayTelemetry measured = decay_telemetry({.gg = 1, .gh = 1, .hh = 1, .gv = 0, .hv = 0, .vv = 0});
  EXPECT_TRUE(std::isnan(measured.d1) && std::isnan(measured.d2) && std::isnan(measured.curvature));
  EXPECT_DOUBLE_EQ(measured.gradient_cosine, 1);
}

}  // namespace
}  // namespace trainhost
