// What must hold of minicpm beyond the numbers of minicpm_golden_test.cpp.
#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/model_runner.h"

namespace trainhost {
namespace {

using Parameters = std::map<std::string, ParameterValue>;
constexpr int32_t kVocabulary = 96;

const Parameters kSmall{{"layers", int64_t{2}},   {"width", int64_t{48}},        {"heads", int64_t{4}},
                        {"kv_heads", int64_t{2}}, {"feed_forward", int64_t{80}}, {"dim_model_base", int64_t{24}}};

// Four sequences of 72 tokens; the first document of the second one is 30 tokens long.
TokenBatch some_documents() { return random_documents({{72}, {30, 42}, {1, 70, 1}, {66, 6}}, kVocabulary, 5); }
constexpr size_t kRows = 4 * 72;

ModelRunner small_model() { return ModelRunner("minicpm", kSmall, {kVocabulary, 72, kRows}); }

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

TEST(Minicpm, AddsTheGradientsOfMicroBatches) {
  TokenBatch whole = some_documents(), first = sequences(whole, 0, 1), second = sequences(whole, 1, 4);
  ModelRunner runner = small_model();
  const float loss = runner.train(whole, 1.0 / kRows);
  const auto expected = gradients(runner);
  float sum = runner.train(first, 1.0 / kRows);
  sum += runner.train(second, 1.0 / kRows, {.add = true});
  EXPECT_NEAR(sum, loss, 2e-6);
  for (size_t i = 0; i < expected.size(); ++i) {
    const float largest = std::abs(*std::ranges::max_element(expected[i], {}, [](float g) { return std::abs(g); }));
    EXPECT_THAT(gradients(runner)[i], testing::Pointwise(testing::FloatNear(1e-5f * largest), expected[i])) << runner.name(i);
  }
}

TEST(Minicpm, GivesTheSameBitsAgainAndWhenRecomputed) {
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

TEST(Minicpm, SeesNothingOfOtherDocumentsAndOfTheFuture) {
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

TEST(Minicpm, IgnoresTokensWithoutWeight) {
  TokenBatch batch = some_documents();
  ModelRunner runner = small_model();
  std::fill(batch.loss_weights.begin() + 100, batch.loss_weights.end(), 0.0f);
  runner.train(batch, 0.01);
  const auto expected = gradients(runner);
  for (size_t t = 100; t < kRows; ++t) batch.targets[t] = (batch.targets[t] + 7) % kVocabulary;
  runner.train(batch, 0.01);
  EXPECT_EQ(gradients(runner), expected);
}

TEST(Minicpm, StaysFiniteWithHugeLogitsAndShowsNotANumber) {
  TokenBatch batch = some_documents();
  ModelRunner runner = small_model();
  const auto head_norm = runner.parameter(runner.index("head.norm.weight"));
  std::ranges::fill(head_norm, 1e4f);
  EXPECT_TRUE(std::isfinite(runner.train(batch, 1.0 / kRows)));
  for (const auto &gradient : gradients(runner)) EXPECT_TRUE(std::ranges::all_of(gradient, [](float g) { return std::isfinite(g); }));
  head_norm[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(runner.evaluate(batch, 1.0 / kRows)));
}

th_model_options options_for(uint32_t vocabulary, uint8_t dtype_code = TH_DTYPE_FLOAT, uint8_t bits = 32) {
  return {.struct_size = sizeof(th_model_options),
          .vocabulary_size = vocabulary,
          .device_type = TH_DEVICE_CPU,
          .device_index = 0,
          .compute_code = dtype_code,
          .compute_bits = bits,
          .reserved = 0,
          .sequence_length = 256,
          .tokens = 256};
}

// Parameters without the embedding, of the ladder in MiniCPM (arXiv 2404.06395, tables 2 and 8).
TEST(Minicpm, HasTheParametersOfTheLadder) {
  struct Size {
    int64_t layers, width, heads, kv_heads, feed_forward, parameters;
  };
  for (const auto &size : {Size{8, 320, 5, 0, 800, 9'426'240}, Size{12, 512, 8, 0, 1280, 36'188'672},
                           Size{52, 1536, 24, 8, 3840, 1'247'442'432}, Size{40, 2304, 36, 36, 5760, 2'442'057'984}}) {
    const Parameters parameters{{"layers", size.layers},
                                {"width", size.width},
                                {"heads", size.heads},
                                {"kv_heads", size.kv_heads},
                                {"feed_forward", size.feed_forward}};
    const auto model = *Model::create(plugin_under_test(PluginKind::kModel, "minicpm", parameters), options_for(1000));
    int64_t count = 0;
    for (const auto &info : model->parameters()) {
      if (info.role != TH_ROLE_EMBEDDING) count += info.shape[0] * (info.rank == 2 ? info.shape[1] : 1);
    }
    EXPECT_EQ(count, size.parameters);
  }
}

TEST(Minicpm, ScalesHiddenMatricesWithTheWidth) {
  const auto model = *Model::create(plugin_under_test(PluginKind::kModel, "minicpm", {{"width", int64_t{2304}}, {"heads", int64_t{36}}}),
                                    options_for(1000));
  for (const auto &info : model->parameters()) {
    const bool matrix = info.role == TH_ROLE_MATRIX;
    EXPECT_NEAR(0.01 * info.lr_scale, matrix ? 1.111e-3 : 0.01, 1e-6);
    EXPECT_NEAR(info.init_std, matrix ? 0.03333 : info.role == TH_ROLE_NORM ? 0 : 0.1, 1e-5);
    EXPECT_EQ(info.weight_decay, matrix ? 1 : 0);
  }
}

TEST(Minicpm, CountsTheOperationsOfALayer) {
  const auto model = *Model::create(
      plugin_under_test(PluginKind::kModel, "minicpm", {{"width", int64_t{512}}, {"heads", int64_t{8}}, {"feed_forward", int64_t{1280}}}),
      options_for(8192));
  // Twice a layer's weights, and q.k and p.v with the 128 keys that a token of 256 sees on average.
  EXPECT_EQ(model->units()[1].forward_flops_per_token, 2.0 * (4 * 512 * 512 + 3 * 512 * 1280) + 2 * 2 * 128 * 512);
  EXPECT_EQ(model->units().back().forward_flops_per_token, 2.0 * 512 * 8192);
}

std::string refusal(const Parameters &parameters, const th_model_options &options) {
  const auto model = Model::create(plugin_under_test(PluginKind::kModel, "minicpm", parameters), options);
  return model ? "accepted" : model.error().message;
}

TEST(Minicpm, SaysWhatIsWrong) {
  const auto with = [](const char *name, int64_t value) {
    Parameters parameters = kSmall;
    parameters[name] = value;
    return refusal(parameters, options_for(100));
  };
  EXPECT_THAT(with("heads", 5), testing::HasSubstr("width 48 is not a multiple of heads 5; the nearest that is: 50"));
  EXPECT_THAT(with("heads", 16), testing::HasSubstr("width / heads is 3, but rotary positions need an even head dimension"));
  EXPECT_THAT(with("kv_heads", 3), testing::HasSubstr("heads 4 is not a multiple of kv_heads 3"));
  EXPECT_THAT(refusal(kSmall, options_for(100, TH_DTYPE_BFLOAT, 16)), testing::HasSubstr("float32 only"));
  TokenBatch batch = some_documents();
  batch.positions[3] = 72;
  ModelRunner runner = small_model();
  try {
    runner.forward(batch);
    FAIL() << "a position beyond the sequence was accepted";
  } catch (const std::runtime_error &error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("token 3 has position 72"));
  }
}

TEST(Minicpm, MeasuresThePeak) {
  const auto model = *Model::create(plugin_under_test(PluginKind::kModel, "minicpm", kSmall), options_for(100));
  const auto peak = model->measure_peak();
  ASSERT_TRUE(peak);
  EXPECT_GT(*peak, 1e9);
  EXPECT_LT(*peak, 1e14);
}

}  // namespace
}  // namespace trainhost
