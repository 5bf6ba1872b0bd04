// A38: a model that goes on with plain text never writes the control tokens that its tokenizer has beside it.
#include "evaluate/text_generator.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

constexpr uint32_t kText = 257, kControl = 2000;  // 256 bytes and the end token; then control tokens

std::unique_ptr<PluginInstance> byte_bpe() {
  return plugin_under_test(PluginKind::kTokenizer, "byte_bpe", {{"vocabulary_size", int64_t{kText + kControl}}});
}

// What byte_bpe makes of no text, and control tokens as another program adds them.
std::string state_with_control_tokens() {
  const auto plugin = byte_bpe();
  auto file = nlohmann::json::parse(*Tokenizer::train(
      *plugin, []() -> Result<std::optional<std::string_view>> { return std::nullopt; }, 0));
  for (uint32_t i = 0; i < kControl; ++i)
    file["added_tokens"].push_back({{"id", kText + i}, {"content", "<|im_" + std::to_string(i) + "|>"}, {"special", true}});
  return file.dump();
}

TEST(TextGenerator, NeverTakesControlTokensThoughTheyAreLikely) {
  const auto tokenizer = *Tokenizer::create(byte_bpe(), state_with_control_tokens());
  ASSERT_EQ(tokenizer->vocabulary_size(), kText + kControl);
  EXPECT_EQ(ids_without_text(*tokenizer)->size(), kControl);

  th_model_options options{};
  options.struct_size = sizeof options;
  options.vocabulary_size = kText + kControl;
  options.device_type = TH_DEVICE_CPU;
  options.compute_code = TH_DTYPE_FLOAT;
  options.compute_bits = 32;
  options.sequence_length = options.tokens = 8;
  const auto model = *Model::create(plugin_under_test(PluginKind::kModel, "bigram", {{"rank", int64_t{4}}}), options);
  const auto process = single_process();
  ParameterStore parameters = *ParameterStore::create(*model, nullptr, unspread(*model, *process));
  parameters.initialise(3);  // about equal probabilities: eight ninths for control tokens
  ModelRunner runner({.model = *model, .parameters = parameters, .gradients = nullptr, .recomputed = {}});

  const TextGenerator generator(runner, *tokenizer, 8);
  uint32_t empty = 0;
  for (uint64_t seed = 0; seed < 50; ++seed)
    empty += generator.generate("a", {.tokens = 1, .temperature = 1, .top_p = 1, .seed = seed, .stop = nullptr})->empty();
  EXPECT_LE(empty, 3u) << "the end token has one part in 257";
}

TEST(TextGenerator, FindsNoControlTokensInWhatByteBpeLearns) {
  const auto plugin = byte_bpe();
  const auto state = *Tokenizer::train(
      *plugin, []() -> Result<std::optional<std::string_view>> { return std::nullopt; }, 0);
  const auto tokenizer = *Tokenizer::create(byte_bpe(), state);
  ASSERT_EQ(tokenizer->vocabulary_size(), kText);
  EXPECT_TRUE(ids_without_text(*tokenizer)->empty());
}

}  // namespace
}  // namespace trainhost
