#include "data/packing.h"

#include <algorithm>
#include <chrono>
#include <map>

#include <gtest/gtest.h>

#include "base/random.h"
#include "store_under_test.h"
#include "temporary_folder.h"

namespace trainhost {
namespace {

// Lengths with end token, as text has them: log-normal around 60, at most `most`.
std::vector<uint32_t> text_lengths(size_t count, uint32_t most) {
  std::vector<float> normal(count);
  fill_normal(11, 1, 0, normal);
  std::vector<uint32_t> lengths;
  for (const float value : normal) lengths.push_back(std::min(most, static_cast<uint32_t>(2 + 60 * std::exp(value))));
  return lengths;
}

std::vector<Piece> pieces_of(const Packing &packing, uint64_t window) {
  std::vector<Piece> pieces;
  packing.pieces(window, pieces);
  return pieces;
}

TokenBatch batch_of(const Packing &packing, bool document_mask) {
  TokenBatch batch = empty_batch(packing.sequence_length());
  for (uint64_t window = 0; window < packing.windows(); ++window)
    require(packing.append(window, {.document = document_mask}, {0, 0, window}, batch));
  finish_batch(batch);
  return batch;
}

TEST(BestFit, TrainsEveryPairOfEveryDocumentOnce) {
  const TemporaryFolder folder;
  const Documents documents = counting_documents({1, 2, 9, 33, 34, 64, 65, 66, 200, 17, 5, 1});
  const auto store = store_of(folder.path() + "/s", documents);
  const TokenBatch batch = batch_of(Packing(*store, Packing::Mode::kBestFit, 32), true);
  std::map<std::pair<int32_t, int32_t>, int> pairs, expected;
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    if (batch.loss_weights[i] > 0) ++pairs[{batch.tokens[i], batch.targets[i]}];
  }
  for (const auto &document : documents) {
    for (size_t i = 0; i + 1 < document.size(); ++i) ++expected[{static_cast<int32_t>(document[i]), static_cast<int32_t>(document[i + 1])}];
  }
  EXPECT_EQ(pairs, expected);
}

// Straight from the definition, in quadratic time.
std::vector<uint32_t> fills_of_best_fit_decreasing(std::vector<uint32_t> lengths, uint32_t capacity) {
  std::sort(lengths.rbegin(), lengths.rend());
  std::vector<uint32_t> fills;
  for (const uint32_t length : lengths) {
    auto best = fills.end();
    for (auto fill = fills.begin(); fill != fills.end(); ++fill) {
      if (*fill + length <= capacity && (best == fills.end() || *fill > *best)) best = fill;
    }
    best == fills.end() ? fills.push_back(length) : void(*best += length);
  }
  std::sort(fills.begin(), fills.end());
  return fills;
}

TEST(BestFit, FillsAsTheDefinitionDoes) {
  const TemporaryFolder folder;
  for (const uint32_t capacity : {1u, 7u, 63u, 64u, 65u, 130u, 5000u}) {
    std::vector<uint32_t> lengths = text_lengths(700, capacity + 1);
    const auto store = store_of(folder.path() + "/s", counting_documents(lengths), 10'000'000);
    const Packing packing(*store, Packing::Mode::kBestFit, capacity);
    std::vector<uint32_t> fills;
    for (uint64_t window = 0; window < packing.windows(); ++window) {
      fills.push_back(0);
      for (const Piece &piece : pieces_of(packing, window)) fills.back() += piece.length;
    }
    std::sort(fills.begin(), fills.end());
    for (uint32_t &length : lengths) --length;  // the last token is only a target
    EXPECT_EQ(fills, fills_of_best_fit_decreasing(lengths, capacity)) << capacity;
  }
}

TEST(BestFit, CutsNoDocumentThatFitsAndFillsNinetyNinePercent) {
  const TemporaryFolder folder;
  const std::vector<uint32_t> lengths = text_lengths(20'000, 257);
  const auto store = store_of(folder.path() + "/s", counting_documents(lengths), 10'000'000);
  const Packing packing(*store, Packing::Mode::kBestFit, 256);
  uint64_t pieces = 0;
  for (uint64_t window = 0; window < packing.windows(); ++window) pieces += pieces_of(packing, window).size();
  EXPECT_EQ(pieces, 20'000u);  // so none was cut
  const double fill = static_cast<double>(packing.filled_positions()) / static_cast<double>(packing.windows() * 256);
  EXPECT_GE(fill, 0.99);
  RecordProperty("fill", std::to_string(fill));
}

TEST(BestFit, PacksHundredsOfThousandsOfDocumentsInTime) {
  const TemporaryFolder folder;
  Documents documents;
  for (const uint32_t length : text_lengths(300'000, 65)) documents.emplace_back(length, 1);
  const auto store = store_of(folder.path() + "/s", documents, 4096);
  const auto begin = std::chrono::steady_clock::now();
  const Packing packing(*store, Packing::Mode::kBestFit, 64);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  RecordProperty("seconds", std::to_string(seconds.count()));
  EXPECT_GT(packing.windows(), 100'000u);
  EXPECT_LT(seconds.count(), 5);  // hundredths when nothing else runs; a quadratic way would take minutes
}

TEST(Packing, LaysOutABatch) {
  const TemporaryFolder folder;
  // Best fit into 6: {10..13} fills 3, {20, 21, 22} fills 2; one position is left.
  const auto store = store_of(folder.path() + "/s", {{20, 21, 22}, {10, 11, 12, 13}}, 4096, {{1, 0, 1}, {1, 1, 1, 1}});
  const Packing packing(*store, Packing::Mode::kBestFit, 6);
  ASSERT_EQ(packing.windows(), 1u);
  const TokenBatch masked = batch_of(packing, true);
  EXPECT_EQ(masked.tokens, (std::vector<int32_t>{10, 11, 12, 20, 21, 0}));
  EXPECT_EQ(masked.targets, (std::vector<int32_t>{11, 12, 13, 21, 22, 0}));
  EXPECT_EQ(masked.loss_weights, (std::vector<float>{1, 1, 1, 0, 1, 0}));
  EXPECT_EQ(masked.positions, (std::vector<int32_t>{0, 1, 2, 0, 1, 0}));
  EXPECT_EQ(masked.document_starts, (std::vector<int32_t>{0, 3, 5, 6}));
  EXPECT_EQ(masked.sequences, 1u);
  EXPECT_EQ(masked.weight(), 4);
  const TokenBatch open = batch_of(packing, false);
  EXPECT_EQ(open.positions, (std::vector<int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(open.document_starts, (std::vector<int32_t>{0, 6}));
  EXPECT_EQ(open.loss_weights, masked.loss_weights);
}

TEST(Packing, GoesOnAfterACutWithTheLastTarget) {
  const TemporaryFolder folder;
  const auto store = store_of(folder.path() + "/s", {{1, 2, 3, 4, 5, 6, 7, 8}}, 4096);
  const Packing packing(*store, Packing::Mode::kBestFit, 3);
  ASSERT_EQ(packing.windows(), 3u);
  EXPECT_EQ(batch_of(packing, true).tokens, (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 0, 0}));
  EXPECT_EQ(batch_of(packing, true).targets, (std::vector<int32_t>{2, 3, 4, 5, 6, 7, 8, 0, 0}));
  EXPECT_EQ(batch_of(packing, true).positions, (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 0, 1}));
}

TEST(Concatenate, CutsTheStreamAndKeepsTheBorders) {
  const TemporaryFolder folder;
  const auto store = store_of(folder.path() + "/s", {{1, 2, 3}, {4}, {5, 6, 7, 8, 9}, {10}}, 4096);
  const Packing packing(*store, Packing::Mode::kConcatenate, 4);
  ASSERT_EQ(packing.windows(), 2u);
  const TokenBatch masked = batch_of(packing, true);
  EXPECT_EQ(masked.tokens, (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(masked.targets, (std::vector<int32_t>{2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(masked.document_starts, (std::vector<int32_t>{0, 3, 4, 8}));
  EXPECT_EQ(masked.positions, (std::vector<int32_t>{0, 1, 2, 0, 0, 1, 2, 3}));
  EXPECT_EQ(masked.loss_weights, (std::vector<float>{1, 1, 0, 0, 1, 1, 1, 1}));  // 3 -> 4 and 4 -> 5 cross a border
  const TokenBatch open = batch_of(packing, false);
  EXPECT_EQ(open.document_starts, (std::vector<int32_t>{0, 4, 8}));
  EXPECT_EQ(open.positions, (std::vector<int32_t>{0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(open.loss_weights, std::vector<float>(8, 1.0f));
}

TEST(Concatenate, NeedsATargetForTheLastPosition) {
  const TemporaryFolder folder;
  const auto store = store_of(folder.path() + "/s", counting_documents({4, 4}), 4096);
  EXPECT_EQ(Packing(*store, Packing::Mode::kConcatenate, 4).windows(), 1u);
  EXPECT_EQ(Packing(*store, Packing::Mode::kConcatenate, 7).windows(), 1u);
  EXPECT_EQ(Packing(*store, Packing::Mode::kConcatenate, 8).windows(), 0u);
}

TEST(Packing, RefusesAnIdThatAppearsLater) {
  const TemporaryFolder folder;
  const auto store = store_of(folder.path() + "/s", {{1, 2, 3}}, 4096);
  const Packing packing(*store, Packing::Mode::kBestFit, 4);
  std::ofstream(folder.path() + "/s.bin", std::ios::in | std::ios::binary) << "\xff\xff";
  TokenBatch batch = empty_batch(4);
  const auto outcome = packing.append(0, {}, {}, batch);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message, folder.path() + "/s.bin: holds token 65535; the tokenizer has ids 0 to 4095: the store was altered");
}

}  // namespace
}  // namespace trainhost
