// A26: the trade of steps against tokens, against planted laws and against SGD on a noisy quadratic.
#include "evaluate/critical_batch.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

// Steps and tokens that the law gives for a batch, with relative noise on the steps.
std::vector<ReachedLoss> planted(double least_steps, double least_tokens, double noise) {
  std::mt19937_64 generator(7);
  std::normal_distribution<double> normal(0, noise);
  std::vector<ReachedLoss> points;
  for (double batch = least_tokens / least_steps / 16; batch < least_tokens / least_steps * 20; batch *= 2) {
    const double steps = (least_steps + least_tokens / batch) * std::exp(normal(generator));
    points.push_back({.steps = steps, .tokens = steps * batch});
  }
  return points;
}

TEST(CriticalBatch, IsFoundExactlyWithoutNoise) {
  const auto fit = fit_critical_batch(planted(500, 4e6, 0));
  ASSERT_TRUE(fit);
  EXPECT_NEAR(fit->least_steps, 500, 1e-6);
  EXPECT_NEAR(fit->least_tokens, 4e6, 1e-3);
  EXPECT_NEAR(fit->batch(), 8000, 1e-6);
  EXPECT_NEAR(fit->r_squared, 1, 1e-12);
  // The law itself, at the critical batch: both are twice their least.
  EXPECT_NEAR(fit->least_steps + fit->least_tokens / fit->batch(), 2 * fit->least_steps, 1e-6);
}

TEST(CriticalBatch, IsFoundWithinFivePercentUnderNoise) {
  const auto fit = fit_critical_batch(planted(500, 4e6, 0.02));
  ASSERT_TRUE(fit);
  EXPECT_NEAR(fit->batch() / 8000, 1, 0.05);
  EXPECT_GE(fit->r_squared, 0.95);
}

TEST(CriticalBatch, RSquaredIsTheShareOfTheVarianceOfLogSteps) {
  std::vector<ReachedLoss> points = planted(500, 4e6, 0.3);
  const auto fit = fit_critical_batch(points);
  ASSERT_TRUE(fit);
  double mean = 0, residual = 0, total = 0;
  for (const auto &[steps, tokens] : points) mean += std::log(steps) / static_cast<double>(points.size());
  for (const auto &[steps, tokens] : points) {
    residual += std::pow(std::log(steps / (fit->least_steps * (1 + fit->batch() / (tokens / steps)))), 2);
    total += std::pow(std::log(steps) - mean, 2);
  }
  EXPECT_NEAR(fit->r_squared, 1 - residual / total, 1e-12);
  EXPECT_LT(fit->r_squared, 0.99);
}

// SGD on 1/2 sum h_i x_i^2 whose gradients have noise of deviation 1 in each coordinate and example, with a tenth of the learning rate that
// is best in expectation at each step (arXiv 1812.06162, eq. 2.6): of small steps the law holds exactly.
class NoisyQuadratic {
 public:
  NoisyQuadratic() {
    for (size_t i = 0; i < kDimensions; ++i) curvatures_.push_back(std::pow(10.0, -static_cast<double>(i) / (kDimensions - 1)));
  }

  // The noise scale tr(H Sigma) / (G' H G), where the two ways to lower the loss are in balance (eq. 2.8).
  double noise_scale(const std::vector<double> &x) const {
    double trace = 0, curved = 0;
    for (size_t i = 0; i < kDimensions; ++i) {
      trace += curvatures_[i];
      curved += std::pow(curvatures_[i], 3) * x[i] * x[i];
    }
    return trace / curved;
  }

  // Until the loss is a tenth; `end`: where.
  ReachedLoss reach(double batch, uint64_t seed, std::vector<double> &end) const {
    std::mt19937_64 generator(seed);
    std::normal_distribution<double> normal(0, 1 / std::sqrt(batch));
    std::vector<double> x = start();
    const double target = loss(x) / 10;
    double steps = 0;
    for (; loss(x) > target; ++steps) {
      double squares = 0, curved = 0;
      for (size_t i = 0; i < kDimensions; ++i) {
        squares += std::pow(curvatures_[i] * x[i], 2);
        curved += std::pow(curvatures_[i], 3) * x[i] * x[i];
      }
      const double rate = 0.1 * squares / curved / (1 + noise_scale(x) / batch);
      for (size_t i = 0; i < kDimensions; ++i) x[i] -= rate * (curvatures_[i] * x[i] + normal(generator));
    }
    end = x;
    return {.steps = steps, .tokens = steps * batch};
  }
  std::vector<double> start() const { return std::vector<double>(kDimensions, 1.0); }

 private:
  static constexpr size_t kDimensions = 50;
  double loss(const std::vector<double> &x) const {
    double sum = 0;
    for (size_t i = 0; i < kDimensions; ++i) sum += curvatures_[i] * x[i] * x[i] / 2;
    return sum;
  }
  std::vector<double> curvatures_;
};

TEST(CriticalBatch, OfANoisyQuadraticIsItsNoiseScale) {
  const NoisyQuadratic problem;
  std::vector<ReachedLoss> points;
  std::vector<double> end;
  for (double batch = 1; batch <= 1024; batch *= 2) {
    constexpr uint64_t kSeeds = 4;
    ReachedLoss mean;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      const ReachedLoss reached = problem.reach(batch, seed, end);
      mean.steps += reached.steps / kSeeds;
      mean.tokens += reached.tokens / kSeeds;
    }
    points.push_back(mean);
  }
  const auto fit = fit_critical_batch(points);
  ASSERT_TRUE(fit);
  EXPECT_GE(fit->r_squared, 0.95);
  // It is the mean over the way of a scale that grows as the gradient falls.
  EXPECT_GT(fit->batch(), problem.noise_scale(problem.start()));
  EXPECT_LT(fit->batch(), problem.noise_scale(end));
  for (auto p : points) printf("%g %g\n", p.steps, p.tokens);
  printf("%g %g %g; %g %g\n", fit->least_steps, fit->least_tokens, fit->r_squared, problem.noise_scale(problem.start()),
         problem.noise_scale(end));
}

TEST(CriticalBatch, IsNotMadeUp) {
  const auto refused = [](std::vector<ReachedLoss> points) { return !fit_critical_batch(points); };
  EXPECT_TRUE(refused({{100, 1000}, {60, 1200}})) << "two points";
  EXPECT_TRUE(refused({{100, 1000}, {100, 1000}, {110, 1100}})) << "one batch";
  EXPECT_TRUE(refused({{51, 51 * 0.1}, {5, 5 * 0.1}, {58.5, 58.5 * 0.1}})) << "one batch, but for rounding";
  EXPECT_TRUE(refused({{100, 1000}, {60, 1200}, {0, 0}}));
  EXPECT_TRUE(refused({{100, 1000}, {60, 1200}, {std::numeric_limits<double>::quiet_NaN(), 1}}));
  EXPECT_TRUE(refused({{100, 1000}, {48, 960}, {22, 880}})) << "steps fall faster than the batch grows: none is the least";
  EXPECT_TRUE(refused({{100, 1000}, {102, 2040}, {108, 4320}})) << "steps do not fall: no tokens are the least";
}

}  // namespace
}  // namespace trainhost
