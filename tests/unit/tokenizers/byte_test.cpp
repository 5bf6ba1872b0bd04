// The byte tokenizer through the host.
#include <gtest/gtest.h>

#include <numeric>

#include "plugin_host/adapters/tokenizer.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

auto plugin() { return plugin_under_test(PluginKind::kTokenizer, "byte"); }

TEST(ByteTest, GivesEachByteItsValue) {
  const auto tokenizer = *Tokenizer::create(plugin(), "");
  std::vector<uint32_t> values(256);
  std::iota(values.begin(), values.end(), 0u);
  const std::string text(values.begin(), values.end());
  std::vector<uint32_t> ids;
  ASSERT_TRUE(tokenizer->encode(text, ids));
  EXPECT_EQ(ids, values);
  EXPECT_EQ(*tokenizer->decode(ids), text);
}

TEST(ByteTest, CarriesTextsOfAnyLength) {
  const auto tokenizer = *Tokenizer::create(plugin(), "");
  for (const size_t size : {0, 1, 4095, 4096, 4097, 100'000}) {
    const std::string text(size, 'x');
    std::vector<uint32_t> ids;
    ASSERT_TRUE(tokenizer->encode(text, ids));
    EXPECT_EQ(ids, std::vector<uint32_t>(size, 'x'));
    EXPECT_EQ(*tokenizer->decode(ids), text);
  }
}

TEST(ByteTest, EndsDocumentsWithAnIdOfItsOwn) {
  const auto tokenizer = *Tokenizer::create(plugin(), "");
  EXPECT_EQ(tokenizer->vocabulary_size(), 257u);
  EXPECT_EQ(tokenizer->end_id(), 256u);
  EXPECT_EQ(*tokenizer->decode(std::vector<uint32_t>{'a', 256, 'b'}), "ab");
}

TEST(ByteTest, NeedsNoTraining) { EXPECT_FALSE(*Tokenizer::is_trainable(*plugin())); }

TEST(ByteTest, RefusesWhatItCannotUse) {
  const auto with_state = Tokenizer::create(plugin(), "state");
  ASSERT_FALSE(with_state);
  EXPECT_NE(with_state.error().message.find("the tokenizer state has 5 bytes, expected none: byte has no state"), std::string::npos);
  const auto beyond = (*Tokenizer::create(plugin(), ""))->decode(std::vector<uint32_t>{257});
  ASSERT_FALSE(beyond);
  EXPECT_NE(beyond.error().message.find("id 257 is not in the vocabulary: expected 0 to 256"), std::string::npos);
}

}  // namespace
}  // namespace trainhost
