// A26: gradients drawn with a known covariance.
#include "telemetry/noise_scale.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

double square(const std::vector<double> &vector) {
  double sum = 0;
  for (const double value : vector) sum += value * value;
  return sum;
}

// Steps of eight micro-batches, whose mean gradient is the step's: token gradients of mean 0.5 / sqrt(n) each and variances that grow along
// the vector, with the given trace; the square of the gradient is 0.25.
class DrawnGradients {
 public:
  static constexpr size_t kLength = 2000, kMicroBatches = 8;
  static constexpr double kTokens = 16, kGradientSquare = 0.25;

  explicit DrawnGradients(double trace) {
    for (size_t i = 0; i < kLength; ++i) {
      const double share = 2.0 * static_cast<double>(i + 1) / static_cast<double>(kLength * (kLength + 1));
      deviations_.push_back(std::sqrt(trace * share / kTokens));
    }
  }

  BatchGradients step() {
    std::normal_distribution<double> normal;
    std::vector<double> whole(kLength), part(kLength);
    BatchGradients gradients{.small_batch = kTokens, .small_square = 0, .big_batch = kTokens * kMicroBatches, .big_square = 0};
    for (size_t micro_batch = 0; micro_batch < kMicroBatches; ++micro_batch) {
      for (size_t i = 0; i < kLength; ++i) {
        part[i] = std::sqrt(kGradientSquare / kLength) + deviations_[i] * normal(random_);
        whole[i] += part[i] / kMicroBatches;
      }
      gradients.small_square += square(part) / kMicroBatches;
    }
    gradients.big_square = square(whole);
    return gradients;
  }

 private:
  std::mt19937_64 random_{1};
  std::vector<double> deviations_;
};

TEST(NoiseScale, A26IsTraceOverSquareOfTheGradientWithinFivePercent) {
  for (const double expected : {20.0, 200.0}) {
    DrawnGradients drawn(expected * DrawnGradients::kGradientSquare);
    NoiseScale noise;
    for (int step = 0; step < 300; ++step) noise.add(estimate_noise(drawn.step()));
    EXPECT_NEAR(noise.value() / expected, 1, 0.05);
    const double kept = 1 - std::pow(0.99, 300);
    EXPECT_NEAR(noise.gradient_square / kept / DrawnGradients::kGradientSquare, 1, 0.05);
    EXPECT_NEAR(noise.trace / kept / (expected * DrawnGradients::kGradientSquare), 1, 0.05);
  }
}

TEST(NoiseScale, FirstEstimateCountsInFull) {
  NoiseScale noise;
  EXPECT_TRUE(std::isnan(noise.value()));
  noise.add({.gradient_square = 2, .trace = 30});
  EXPECT_NEAR(noise.value(), 15, 1e-12);
  noise.add({.gradient_square = 4, .trace = 30});
  EXPECT_NEAR(noise.value(), 30 * (0.99 + 1) / (2 * 0.99 + 4), 1e-12);
}

// Means of the parts, not of the quotients, which are infinite here.
TEST(NoiseScale, IsUnknownOnlyWhileTheNoiseHidesTheGradient) {
  NoiseScale noise;
  noise.add({.gradient_square = -1, .trace = 10});
  EXPECT_TRUE(std::isnan(noise.value()));
  noise.add({.gradient_square = 2, .trace = 10});
  EXPECT_NEAR(noise.value(), 10 * (0.99 + 1) / (2 - 0.99), 1e-12);
}

}  // namespace
}  // namespace trainhost
