#include <gtest/gtest.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

// Row-major, in double.
struct SquareMatrix {
  int64_t side;
  std::vector<double> values;
  double &at(int64_t row, int64_t column) { return values[static_cast<size_t>(row * side + column)]; }
  double at(int64_t row, int64_t column) const { return values[static_cast<size_t>(row * side + column)]; }
};

// A product of two of Householder's reflections, I - 2 v v^T.
SquareMatrix orthogonal(int64_t side, uint32_t seed) {
  SquareMatrix q{side, std::vector<double>(static_cast<size_t>(side * side))};
  for (int64_t i = 0; i < side; ++i) q.at(i, i) = 1;
  for (const uint32_t reflection : {seed, seed + 1}) {
    const std::vector<float> v = numbers(static_cast<size_t>(side), reflection);
    double squares = 0;
    for (const double x : v) squares += x * x;
    for (int64_t i = 0; i < side; ++i) {
      double product = 0;
      for (int64_t k = 0; k < side; ++k) product += q.at(i, k) * v[static_cast<size_t>(k)];
      for (int64_t k = 0; k < side; ++k) q.at(i, k) -= 2 * product / squares * v[static_cast<size_t>(k)];
    }
  }
  return q;
}

// left diag(singular) right^T, of left.side x right.side.
std::vector<float> with_singular_values(const SquareMatrix &left, const std::vector<double> &singular, const SquareMatrix &right) {
  std::vector<float> product;
  for (int64_t i = 0; i < left.side; ++i) {
    for (int64_t j = 0; j < right.side; ++j) {
      double sum = 0;
      for (size_t k = 0; k < singular.size(); ++k) {
        sum += left.at(i, static_cast<int64_t>(k)) * singular[k] * right.at(j, static_cast<int64_t>(k));
      }
      product.push_back(static_cast<float>(sum));
    }
  }
  return product;
}

// u^T matrix v for columns k of left and l of right.
double between(const SquareMatrix &left, int64_t k, const std::vector<float> &matrix, const SquareMatrix &right, int64_t l) {
  double sum = 0;
  for (int64_t i = 0; i < left.side; ++i) {
    for (int64_t j = 0; j < right.side; ++j) sum += left.at(i, k) * matrix[static_cast<size_t>(i * right.side + j)] * right.at(j, l);
  }
  return sum;
}

// The step of one update from 0 with learning rate 1 and the gradient.
std::vector<float> step_of(const std::vector<float> &gradient, int64_t rows, int64_t columns) {
  const auto muon = optimizer_under_test("muon");
  UpdatedParameter parameter(*muon, std::vector<float>(gradient.size()), "weight", {rows, columns});
  parameter.gradient = gradient;
  parameter.learning_rate = 1;
  const float scale = 1;
  const th_update whole = parameter.whole();
  EXPECT_TRUE(update(*muon, call_at(0, scale), {&whole, 1}));
  for (float &value : parameter.master) value = -value;
  return parameter.master;
}

// A29: the gradient's singular vectors, its singular values brought near to 1, and steps of AdamW's size.
TEST(Muon, BringsSingularValuesNearToOne) {
  for (const auto &[rows, columns] : {std::pair<int64_t, int64_t>{40, 40}, {40, 150}, {150, 40}}) {
    const SquareMatrix left = orthogonal(rows, 1), right = orthogonal(columns, 3);
    std::vector<double> singular(40);
    for (size_t k = 0; k < singular.size(); ++k) singular[k] = std::pow(6.4e-3, static_cast<double>(k) / 39);  // 1 to 6.4e-3
    double squares = 0;
    for (const double value : singular) squares += value * value;
    ASSERT_GE(singular.back() / std::sqrt(squares), 3e-3);
    for (const double scale : {1e-4, 1.0, 1e4}) {
      std::vector<double> scaled = singular;
      for (double &value : scaled) value *= scale;
      const std::vector<float> step = step_of(with_singular_values(left, scaled, right), rows, columns);
      const double unit = 0.2 * std::sqrt(static_cast<double>(std::max(rows, columns)));
      double sum = 0;
      for (const double value : step) sum += value * value;
      const double rms = std::sqrt(sum / static_cast<double>(rows * columns));
      EXPECT_GE(rms, 0.17) << rows << " x " << columns;
      EXPECT_LE(rms, 0.21) << rows << " x " << columns;
      for (int64_t k = 0; k < 40; ++k) {
        const double value = between(left, k, step, right, k) / unit;
        EXPECT_GE(value, 0.68) << rows << " x " << columns << ", number " << k;
        EXPECT_LE(value, 1.21) << rows << " x " << columns << ", number " << k;
        EXPECT_NEAR(between(left, k, step, right, (k + 1) % 40) / unit, 0, 1e-3) << k;
      }
    }
  }
}

TEST(Muon, TakesNoStepWithoutAGradient) { EXPECT_EQ(step_of(std::vector<float>(12), 3, 4), std::vector<float>(12, -0.0f)); }

// Role and rank both: AdamW's states and, bit for bit, its values.
TEST(Muon, LeavesAllButHiddenMatricesToAdamW) {
  const auto muon = optimizer_under_test("muon"), adamw = optimizer_under_test("adamw");
  EXPECT_EQ(muon->granularity(), TH_GRANULARITY_MATRIX);
  UpdatedParameter hidden(*muon, numbers(60, 1), "hidden", {6, 10});
  EXPECT_EQ(hidden.state_names, std::vector<std::string>{"momentum_buffer"});
  const std::vector<std::pair<int32_t, std::vector<int64_t>>> others = {{TH_ROLE_EMBEDDING, {6, 10}}, {TH_ROLE_HEAD, {6, 10}},
                                                                        {TH_ROLE_NORM, {60}},         {TH_ROLE_BIAS, {60}},
                                                                        {TH_ROLE_MATRIX, {60}},       {TH_ROLE_MATRIX, {2, 3, 10}}};
  for (const auto &[role, shape] : others) {
    UpdatedParameter found(*muon, numbers(60, 1), "weight", shape, role), expected(*adamw, numbers(60, 1), "weight", shape, role);
    ASSERT_EQ(found.state_names, expected.state_names) << role;
    const float scale = 0.5f;
    for (uint64_t step = 0; step < 3; ++step) {
      found.gradient = expected.gradient = numbers(60, 9);
      const th_update one = found.whole(), other = expected.whole();
      ASSERT_TRUE(update(*muon, call_at(step, scale, 0.5), {&one, 1}));  // the schedule's momentum is the matrices'
      ASSERT_TRUE(update(*adamw, call_at(step, scale), {&other, 1}));
    }
    EXPECT_EQ(found.master, expected.master) << role;
  }
}

}  // namespace
}  // namespace trainhost
