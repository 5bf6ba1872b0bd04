// What must hold of minicpm in every place beyond the numbers of minicpm_golden_test.cpp.
#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/models/minicpm_place.h"
#include "unit/models/small_minicpm.h"

namespace trainhost {
namespace {

class MinicpmUnits : public testing::TestWithParam<MinicpmPlace> {
 protected:
  void SetUp() override {
    if (const std::string reason = why_not(GetParam()); !reason.empty()) GTEST_SKIP() << reason;
  }
  static ModelRunner small_model() {
    return ModelRunner(GetParam().plugin, kSmall,
                       {.vocabulary = kVocabulary,
                        .sequence_length = 72,
                        .tokens = kRows,
                        .device = &device_of(GetParam()),
                        .bfloat16 = GetParam().bfloat16});
  }
};

std::vector<std::vector<float>> gradients(ModelRunner &runner) {
  std::vector<std::vector<float>> result;
  for (size_t i = 0; i < runner.parameter_count(); ++i) result.emplace_back(runner.gradient(i).begin(), runner.gradient(i).end());
  return result;
}

// The sequences [begin, end) of a batch as a batch of their own.
TokenBatch sequences(const TokenBatch &batch, uint32_t begin, uint32_t end) {
  const uint32_t first = begin * batch.sequence_length, last = end * batch.sequence_length;
  const auto part = [&](const auto &items) { return std::decay_t<decltype(items)>(items.begin() + first, items.begin() + last); };
  TokenBatch result{
      end - begin, batch.sequence_length, part(batch.tokens), part(batch.targets), part(batch.loss_weights), part(batch.positions), {}, {}};
  for (const int32_t start : batch.document_starts) {
    if (start >= static_cast<int32_t>(first) && start <= static_cast<int32_t>(last))
      result.document_starts.push_back(start - static_cast<int32_t>(first));
  }
  return result;
}

TEST_P(MinicpmUnits, AddsTheGradientsOfMicroBatches) {
  TokenBatch whole = some_documents(), first = sequences(whole, 0, 1), second = sequences(whole, 1, 4);
  ModelRunner runner = small_model();
  const float loss = runner.train(whole, 1.0 / kRows);
  const auto expected = gradients(runner);
  float sum = runner.train(first, 1.0 / kRows);
  sum += runner.train(second, 1.0 / kRows, {.add = true});
  EXPECT_NEAR(sum, loss, GetParam().tolerance(2e-6, 1e-3));
  const auto tolerance = static_cast<float>(GetParam().tolerance(1e-5, 1e-2));
  for (size_t i = 0; i < expected.size(); ++i) {
    const float largest = std::abs(*std::ranges::max_element(expected[i], {}, [](float g) { return std::abs(g); }));
    EXPECT_THAT(gradients(runner)[i], testing::Pointwise(testing::FloatNear(tolerance * largest), expected[i])) << runner.name(i);
  }
}

TEST_P(MinicpmUnits, GivesTheSameBitsAgainAndWhenRecomputed) {
  TokenBatch batch = some_documents();
  ModelRunner runner = small_model();
  const float loss = runner.train(batch, 1.0 / kRows);
  const auto expected = gradients(runner);
  for (const auto &way : {ModelRunner::Way{}, ModelRunner::Way{.recompute = true}, ModelRunner::Way{.split_head = true}}) {
    EXPECT_EQ(runner.train(batch, 1.0 / kRows, way), loss);
    EXPECT_EQ(gradients(runner), expected);
  }
  EXPECT_EQ(runner.evaluate(batch, 1.0 / kRows), loss);
}

TEST_P(MinicpmUnits, SeesNothingOfOtherDocumentsAndOfTheFuture) {
  TokenBatch batch = some_documents();
  ModelRunner runner = small_model();
  const auto before = runner.logits(batch);
  constexpr size_t kChanged = 72 + 10, kEnd = 72 + 30;  // a token inside the first document of the second sequence
  batch.tokens[kChanged] = (batch.tokens[kChanged] + 1) % kVocabulary;
  const auto after = runner.logits(batch);
  for (size_t t = 0; t < kRows; ++t) {
    const bool same = std::equal(&before[t * kVocabulary], &before[(t + 1) * kVocabulary], &after[t * kVocabulary]);
    EXPECT_EQ(same, t < kChanged || t >= kEnd) << "token " << t;
  }
}

TEST_P(MinicpmUnits, IgnoresTokensWithoutWeight) {
  TokenBatch batch = some_documents();
  ModelRunner runner = small_model();
  std::fill(batch.loss_weights.begin() + 100, batch.loss_weights.end(), 0.0f);
  runner.train(batch, 0.01);
  const auto expected = gradients(runner);
  for (size_t t = 100; t < kRows; ++t) batch.targets[t] = (batch.targets[t] + 7) % kVocabulary;
  runner.train(batch, 0.01);
  EXPECT_EQ(gradients(runner), expected);
}

TEST_P(MinicpmUnits, StaysFiniteWithHugeLogitsAndShowsNotANumber) {
  TokenBatch batch = some_documents();
  ModelRunner runner = small_model();
  const auto head_norm = runner.parameter(runner.index("head.norm.weight"));
  std::ranges::fill(head_norm, 1e4f);
  EXPECT_TRUE(std::isfinite(runner.train(batch, 1.0 / kRows)));
  for (const auto &gradient : gradients(runner)) EXPECT_TRUE(std::ranges::all_of(gradient, [](float g) { return std::isfinite(g); }));
  head_norm[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(runner.evaluate(batch, 1.0 / kRows)));
}

INSTANTIATE_TEST_SUITE_P(Places, MinicpmUnits, testing::ValuesIn(minicpm_places()), name_of);

}  // namespace
}  // namespace trainhost
