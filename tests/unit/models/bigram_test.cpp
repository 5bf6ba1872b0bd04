// bigram against its closed form in double precision, over the table of weighted pair counts.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "support/model_runner.h"

namespace trainhost {
namespace {

constexpr int kVocabulary = 11, kRank = 5;

struct ClosedForm {
  double loss = 0;
  std::vector<double> embedding_gradient = std::vector<double>(kVocabulary * kRank), head_gradient = embedding_gradient;
};

// Pair (i, j) occurs n_ij times, weighted, and i n_i times; p_i = softmax(W E_i): the loss is -sum n_ij log p_ij and its gradient by the
// logits of i is n_i p_i - n_i. .
ClosedForm closed_form(const TokenBatch &batch, std::span<const float> e, std::span<const float> w, double scale) {
  std::vector<double> pairs(kVocabulary * kVocabulary), counts(kVocabulary);
  for (size_t t = 0; t < batch.tokens.size(); ++t) {
    pairs[static_cast<size_t>(batch.tokens[t] * kVocabulary + batch.targets[t])] += scale * batch.loss_weights[t];
    counts[static_cast<size_t>(batch.tokens[t])] += scale * batch.loss_weights[t];
  }
  ClosedForm result;
  for (size_t i = 0; i < kVocabulary; ++i) {
    std::vector<double> logits(kVocabulary);
    double sum = 0;
    for (size_t j = 0; j < kVocabulary; ++j) {
      for (size_t c = 0; c < kRank; ++c) logits[j] += double{w[j * kRank + c]} * e[i * kRank + c];
      sum += std::exp(logits[j]);
    }
    for (size_t j = 0; j < kVocabulary; ++j) {
      const double p = std::exp(logits[j]) / sum, n = pairs[i * kVocabulary + j], gradient = counts[i] * p - n;
      result.loss -= n * std::log(p);
      for (size_t c = 0; c < kRank; ++c) {
        result.head_gradient[j * kRank + c] += gradient * e[i * kRank + c];
        result.embedding_gradient[i * kRank + c] += gradient * w[j * kRank + c];
      }
    }
  }
  return result;
}

struct Bigram : testing::Test {
  Bigram() {
    for (size_t t = 0; t < batch.loss_weights.size(); ++t) batch.loss_weights[t] = static_cast<float>(t % 4) / 3;
  }
  ClosedForm expected() { return closed_form(batch, runner.parameter(0), runner.parameter(1), 0.02); }
  TokenBatch batch = random_documents({{30}, {20, 10}}, kVocabulary, 3);
  ModelRunner runner{"bigram", {{"rank", int64_t{kRank}}, {"init_std", 1.0}}, {kVocabulary, 30, 60}};
};

void expect_near(std::span<const float> found, const std::vector<double> &expected, double factor = 1) {
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], factor * expected[i], 1e-6) << i;
}

TEST_F(Bigram, GivesTheLossAndGradientsOfItsClosedForm) {
  EXPECT_NEAR(runner.train(batch, 0.02), expected().loss, 1e-6);
  expect_near(runner.gradient(0), expected().embedding_gradient);
  expect_near(runner.gradient(1), expected().head_gradient);
  EXPECT_NEAR(runner.evaluate(batch, 0.02), expected().loss, 1e-6);
}

TEST_F(Bigram, AddsGradients) {
  runner.train(batch, 0.02);
  runner.train(batch, 0.02, {.add = true});
  expect_near(runner.gradient(0), expected().embedding_gradient, 2);
  expect_near(runner.gradient(1), expected().head_gradient, 2);
}

TEST_F(Bigram, GivesLogitsWhoseSoftmaxGivesTheTokenLosses) {
  std::vector<float> token_losses;
  runner.evaluate(batch, 1, &token_losses);
  const auto logits = runner.logits(batch);
  for (size_t t = 0; t < token_losses.size(); ++t) {
    double sum = 0;
    for (size_t v = 0; v < kVocabulary; ++v) sum += std::exp(double{logits[t * kVocabulary + v]});
    EXPECT_NEAR(token_losses[t], std::log(sum) - logits[t * kVocabulary + static_cast<size_t>(batch.targets[t])], 1e-6);
  }
}

}  // namespace
}  // namespace trainhost
