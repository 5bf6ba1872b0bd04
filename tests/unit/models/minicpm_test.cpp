// What minicpm says of itself and what it refuses.
#include <cmath>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/models/small_minicpm.h"

namespace trainhost {
namespace {

using Parameters = std::map<std::string, ParameterValue>;

th_model_options options_for(uint32_t vocabulary, uint8_t dtype_code = TH_DTYPE_FLOAT, uint8_t bits = 32) {
  return {.struct_size = sizeof(th_model_options),
          .vocabulary_size = vocabulary,
          .device_type = TH_DEVICE_CPU,
          .device_index = 0,
          .compute_code = dtype_code,
          .compute_bits = bits,
          .outline = 0,
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

// With m = 2304 / 256 = 9, and with a narrow model's m = 64 / 256.
TEST(Minicpm, ScalesEmbeddingsAsMatricesWhereTheRecipeSaysSo) {
  for (const auto &[width, heads, ratio] : {std::tuple{int64_t{2304}, int64_t{36}, 9.0}, std::tuple{int64_t{64}, int64_t{2}, 0.25}}) {
    for (const bool tied : {true, false}) {
      const Parameters parameters{{"width", width}, {"heads", heads}, {"tied_embeddings", tied}, {"embeddings_as_matrices", true}};
      const auto model = *Model::create(plugin_under_test(PluginKind::kModel, "minicpm", parameters), options_for(1000));
      int embeddings = 0;
      for (const auto &info : model->parameters()) {
        const bool embedding = info.role == TH_ROLE_EMBEDDING || info.role == TH_ROLE_HEAD, norm = info.role == TH_ROLE_NORM;
        embeddings += embedding;
        EXPECT_DOUBLE_EQ(info.lr_scale, norm ? 1 : 1 / ratio);
        EXPECT_DOUBLE_EQ(info.init_std, norm ? 0 : 0.1 / std::sqrt(ratio));
        EXPECT_EQ(info.weight_decay, info.role == TH_ROLE_MATRIX);
      }
      EXPECT_EQ(embeddings, tied ? 1 : 2);
    }
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
  th_model_options elsewhere = options_for(100);
  elsewhere.device_type = 9;
  EXPECT_THAT(refusal(kSmall, elsewhere), testing::HasSubstr("CPUs and CUDA only"));
  TokenBatch batch = some_documents();
  batch.positions[3] = 72;
  ModelRunner runner("minicpm", kSmall, {.vocabulary = kVocabulary, .sequence_length = 72, .tokens = kRows});
  try {
    runner.forward(batch);
    FAIL() << "a position beyond the sequence was accepted";
  } catch (const std::runtime_error &error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("token 3 has position 72"));
  }
}

// This program has not loaded LibTorch's CUDA half: as on a machine without a GPU.
TEST(Minicpm, NeedsAGpuForCuda) {
  th_model_options options = options_for(100, TH_DTYPE_BFLOAT, 16);
  options.device_type = TH_DEVICE_CUDA;
  EXPECT_THAT(refusal(kSmall, options), testing::HasSubstr("LibTorch finds no GPU in this process; set device = \"cpu\""));
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
