// One encoder on many threads.
#include "encoder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>

namespace trainhost::byte_bpe {
namespace {

// Single bytes, and a merge of each two neighbouring letters.
Vocabulary small_vocabulary() {
  Vocabulary vocabulary = untrained_vocabulary();
  for (uint8_t letter = 'a'; letter < 'z'; ++letter) {
    const std::string bytes = {static_cast<char>(letter), static_cast<char>(letter + 1)};
    vocabulary.merges.push_back(
        {vocabulary.byte_ids[letter], vocabulary.byte_ids[letter + 1], static_cast<uint32_t>(vocabulary.tokens.size())});
    vocabulary.tokens.push_back({bytes, false});
  }
  return vocabulary;
}

std::vector<uint32_t> encode(const Encoder &encoder, const std::string &text) {
  std::vector<uint32_t> ids;
  const auto append = [](void *context, const void *items, size_t count) {
    const auto *first = static_cast<const uint32_t *>(items);
    auto &all = *static_cast<std::vector<uint32_t> *>(context);
    all.insert(all.end(), first, first + count);
    return th_status{TH_OK};
  };
  const th_sink sink{&ids, append};
  encoder.encode({reinterpret_cast<const uint8_t *>(text.data()), text.size()}, &sink);
  return ids;
}

TEST(EncoderTest, GivesEveryThreadTheSameIds) {
  const Encoder encoder(small_vocabulary());
  std::mt19937 random(1);
  std::vector<std::string> texts(100);
  std::vector<std::vector<uint32_t>> expected;
  for (std::string &text : texts) {
    while (text.size() < 1000) text += random() % 5 == 0 ? ' ' : static_cast<char>('a' + random() % 26);
    expected.push_back(encode(encoder, text));
  }
  std::atomic<int> wrong = 0;
  const auto work = [&] {
    for (size_t i = 0; i < texts.size(); ++i) wrong += encode(encoder, texts[i]) != expected[i];
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace trainhost::byte_bpe
