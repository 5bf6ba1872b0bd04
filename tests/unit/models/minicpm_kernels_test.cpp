// The kernels of each instruction set that this processor has, against the formulas in double precision.
#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernels.h"

namespace trainhost::minicpm {
namespace {

struct Level {
  const char *name;
  const Kernels *kernels;
  bool here;
};

class KernelsTest : public testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    if (!GetParam().here) GTEST_SKIP() << "this processor lacks " << GetParam().name;
  }
  std::vector<float> normal(int64_t count, float deviation = 1) {
    std::normal_distribution<float> distribution(0, deviation);
    std::vector<float> result(static_cast<size_t>(count));
    for (float &value : result) value = distribution(random_);
    return result;
  }
  const Kernels &k_ = *GetParam().kernels;
  std::mt19937 random_{7};
};

// Sizes that are no multiple of a vector's length, so that remainders are tried too.
constexpr int64_t kRows = 5, kWidth = 77;

void expect_close(const std::vector<float> &found, const std::function<double(size_t)> &expected, double tolerance = 2e-6) {
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected(i), tolerance * (1 + std::abs(expected(i)))) << "element " << i;
}

TEST_P(KernelsTest, RmsNorm) {
  const auto x = normal(kRows * kWidth, 3), weight = normal(kWidth), dy = normal(kRows * kWidth), skipped = normal(kRows * kWidth);
  std::vector<float> y(x.size()), again(x.size()), dx(x.size()), inverse(kRows), dw(kWidth);
  k_.rms_norm(x.data(), weight.data(), 1e-5f, kWidth, 0, kRows, y.data(), inverse.data());
  const auto r = [&](size_t row) {
    double squares = 0;
    for (size_t c = 0; c < kWidth; ++c) squares += double{x[row * kWidth + c]} * x[row * kWidth + c];
    return 1 / std::sqrt(squares / kWidth + 1e-5);
  };
  expect_close(y, [&](size_t i) { return x[i] * r(i / kWidth) * weight[i % kWidth]; });
  k_.rms_norm_again(x.data(), weight.data(), inverse.data(), kWidth, 0, kRows, again.data());
  EXPECT_EQ(again, y);
  k_.rms_norm_backward(dy.data(), x.data(), weight.data(), inverse.data(), skipped.data(), kWidth, 0, kRows, dx.data(), dw.data());
  expect_close(dx, [&](size_t i) {
    const size_t row = i / kWidth;
    double product = 0;
    for (size_t c = 0; c < kWidth; ++c) product += double{dy[row * kWidth + c]} * weight[c] * x[row * kWidth + c];
    return skipped[i] + r(row) * (dy[i] * weight[i % kWidth] - x[i] * r(row) * r(row) * product / kWidth);
  });
  expect_close(dw, [&](size_t c) {
    double sum = 0;
    for (size_t row = 0; row < kRows; ++row) sum += double{dy[row * kWidth + c]} * x[row * kWidth + c] * r(row);
    return sum;
  });
}

TEST_P(KernelsTest, SwiGlu) {
  auto gate_up = normal(kRows * 2 * kWidth, 20);  // far into both tails of the sigmoid
  const auto gradient = normal(kRows * kWidth), original = gate_up;
  std::vector<float> hidden(gradient.size());
  const auto gate = [&](size_t i) { return double{original[i / kWidth * 2 * kWidth + i % kWidth]}; };
  const auto up = [&](size_t i) { return double{original[i / kWidth * 2 * kWidth + kWidth + i % kWidth]}; };
  const auto sigmoid = [&](size_t i) { return 1 / (1 + std::exp(-gate(i))); };
  k_.swiglu(gate_up.data(), kWidth, 0, kRows, hidden.data());
  expect_close(hidden, [&](size_t i) { return gate(i) * sigmoid(i) * up(i); });
  auto both = gradient;
  k_.swiglu_backward(gate_up.data(), kWidth, 0, kRows, both.data());
  expect_close(both, [&](size_t i) { return gate(i) * sigmoid(i) * up(i); });
  expect_close(
      gate_up,
      [&](size_t i) {
        const size_t row = i / (2 * kWidth), column = i % (2 * kWidth), j = row * kWidth + column % kWidth;
        const double s = sigmoid(j);
        return column >= kWidth ? gradient[j] * gate(j) * s : gradient[j] * up(j) * s * (1 + gate(j) * (1 - s));
      },
      1e-5);
}

TEST_P(KernelsTest, CausalSoftmax) {
  constexpr int64_t kFirst = 30, kKeys = kFirst + kRows;
  const auto scores = normal(kRows * kKeys, 15), gradient = normal(kRows * kKeys), delta = normal(kRows);
  auto p = scores;
  std::vector<float> log_sum(kRows);
  k_.causal_softmax(p.data(), kRows, kKeys, kFirst, log_sum.data());
  const auto sees = [&](size_t i) { return i % kKeys <= kFirst + i / kKeys; };
  const auto log_sum_of = [&](size_t row) {
    double sum = 0;
    for (size_t c = 0; c <= kFirst + row; ++c) sum += std::exp(double{scores[row * kKeys + c]});
    return std::log(sum);
  };
  const auto probability = [&](size_t i) { return sees(i) ? std::exp(scores[i] - log_sum_of(i / kKeys)) : 0; };
  expect_close(p, probability);
  expect_close(log_sum, log_sum_of);
  auto again = scores, ds = gradient;
  k_.causal_softmax_backward(again.data(), ds.data(), kRows, kKeys, kFirst, log_sum.data(), delta.data());
  expect_close(again, probability, 1e-5);
  expect_close(
      ds, [&](size_t i) { return probability(i) * (gradient[i] - delta[i / kKeys]); }, 1e-5);
}

TEST_P(KernelsTest, CrossEntropy) {
  const auto original = normal(kRows * kWidth, 30);
  const std::vector<int32_t> targets{0, 76, 13, 5, 40};
  const std::vector<float> weights{1, 0.5, 0, 2, 1};
  auto logits = original;
  std::vector<float> losses(kRows);
  k_.cross_entropy(logits.data(), targets.data(), weights.data(), 0.25f, true, kWidth, 0, kRows, losses.data());
  const auto log_sum = [&](size_t row) {
    double sum = 0;
    for (size_t c = 0; c < kWidth; ++c) sum += std::exp(double{original[row * kWidth + c]});
    return std::log(sum);
  };
  expect_close(losses, [&](size_t row) { return log_sum(row) - original[row * kWidth + static_cast<size_t>(targets[row])]; });
  expect_close(logits, [&](size_t i) {
    const size_t row = i / kWidth;
    const bool target = i % kWidth == static_cast<size_t>(targets[row]);
    return (std::exp(original[i] - log_sum(row)) - target) * 0.25 * weights[row];
  });
}

TEST_P(KernelsTest, RotateTurnsEachPairAndBack) {
  constexpr int64_t kHeads = 3, kDimension = 10, kHalf = 5, kStride = 40;
  const auto original = normal(kRows * kStride);
  const std::vector<int32_t> positions{0, 1, 2, 0, 1};
  std::vector<float> cosine, sine;
  for (int i = 0; i < 3 * kHalf; ++i) {
    cosine.push_back(std::cos(static_cast<float>(i)));
    sine.push_back(std::sin(static_cast<float>(i)));
  }
  auto x = original;
  k_.rotate(x.data(), positions.data(), cosine.data(), sine.data(), 1, kHeads, kDimension, kStride, 0, kRows);
  expect_close(x, [&](size_t i) -> double {
    const size_t row = i / kStride, column = i % kStride, in_head = column % kDimension, pair = in_head % kHalf;
    if (column >= kHeads * kDimension) return original[i];  // values are not turned
    const double angle = static_cast<double>(positions[row]) * kHalf + static_cast<double>(pair);
    return in_head < kHalf ? original[i] * std::cos(angle) - original[i + kHalf] * std::sin(angle)
                           : original[i] * std::cos(angle) + original[i - kHalf] * std::sin(angle);
  });
  k_.rotate(x.data(), positions.data(), cosine.data(), sine.data(), -1, kHeads, kDimension, kStride, 0, kRows);
  expect_close(x, [&](size_t i) { return original[i]; });
}

INSTANTIATE_TEST_SUITE_P(Levels, KernelsTest,
                         testing::Values(Level{"x86-64", &kKernels_x86_64, true},
                                         Level{"x86-64-v3", &kKernels_x86_64_v3, __builtin_cpu_supports("x86-64-v3") != 0},
                                         Level{"x86-64-v4", &kKernels_x86_64_v4, __builtin_cpu_supports("x86-64-v4") != 0}),
                         [](const auto &info) {
                           std::string name = info.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace trainhost::minicpm
