// Merging against the definition of byte-pair encoding, carried out literally.
#include "merger.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>

namespace trainhost::byte_bpe {
namespace {

// Merges in random order, so also of tokens that a later merge makes, and several that make the same token.
Vocabulary random_vocabulary(std::mt19937 &random, std::string_view alphabet) {
  Vocabulary vocabulary = untrained_vocabulary();
  std::vector<uint32_t> parts;
  for (const char letter : alphabet) parts.push_back(vocabulary.byte_ids[static_cast<uint8_t>(letter)]);
  std::map<std::string, uint32_t> ids;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> merges;
  for (int i = 0; i < 30; ++i) {
    const uint32_t left = parts[random() % parts.size()], right = parts[random() % parts.size()];
    const std::string bytes = vocabulary.tokens[left].bytes + vocabulary.tokens[right].bytes;
    const auto [token, is_new] = ids.try_emplace(bytes, vocabulary.tokens.size());
    if (is_new) {
      vocabulary.tokens.push_back({bytes, false});
      parts.push_back(token->second);
    }
    merges[{left, right}] = token->second;
  }
  for (const auto &[pair, result] : merges) vocabulary.merges.push_back({pair.first, pair.second, result});
  std::shuffle(vocabulary.merges.begin(), vocabulary.merges.end(), random);
  return vocabulary;
}

std::vector<uint32_t> merged_literally(const Vocabulary &vocabulary, const std::string &piece) {
  std::vector<uint32_t> symbols;
  for (const char byte : piece) symbols.push_back(vocabulary.byte_ids[static_cast<uint8_t>(byte)]);
  const auto apply_first = [&] {
    for (const Merge &merge : vocabulary.merges) {
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        if (symbols[i] != merge.left || symbols[i + 1] != merge.right) continue;
        symbols[i] = merge.result;
        symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(i) + 1);
        return true;
      }
    }
    return false;
  };
  while (apply_first()) {
  }
  return symbols;
}

TEST(MergerTest, FollowsTheDefinition) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::string_view alphabet = std::array{"a", "ab", "abc"}[round % 3];
    const Vocabulary vocabulary = random_vocabulary(random, alphabet);
    const Merger merger(vocabulary);
    Merger::Scratch scratch;
    for (const size_t size : {1, 2, 3, 10, 100, 256, 257, 600}) {
      std::string piece;
      while (piece.size() < size) piece += alphabet[random() % alphabet.size()];
      const auto *bytes = reinterpret_cast<const uint8_t *>(piece.data());
      const auto ids = merger.merge({bytes, size}, scratch);
      ASSERT_EQ(std::vector<uint32_t>(ids.begin(), ids.end()), merged_literally(vocabulary, piece)) << piece;
    }
  }
}

}  // namespace
}  // namespace trainhost::byte_bpe
