#include "data/packing.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "data/capacity_index.h"

namespace trainhost {
namespace {

// piece(begin, length) for every piece of every document, in the store's order.
template <class Function>
void for_each_piece(const TokenStore &store, uint32_t sequence_length, Function &&piece) {
  for (uint64_t document = 0; document < store.documents(); ++document) {
    uint64_t begin = store.document_begin(document);
    const uint64_t last = store.document_end(document) - 1;  // only a target
    for (; begin < last; begin += std::min<uint64_t>(sequence_length, last - begin)) {
      piece(begin, static_cast<uint32_t>(std::min<uint64_t>(sequence_length, last - begin)));
    }
  }
}

}  // namespace

Packing::Packing(const TokenStore &store, Mode mode, uint32_t sequence_length)
    : store_(&store), mode_(mode), sequence_length_(sequence_length) {
  mode == Mode::kBestFit ? pack_best_fit() : pack_concatenated();
}

void Packing::pack_concatenated() {
  windows_ = store_->tokens() < 2 ? 0 : (store_->tokens() - 1) / sequence_length_;
  filled_positions_ = windows_ * sequence_length_;
}

void Packing::pack_best_fit() {
  // The pieces sorted by length, longest first; equal ones stay in the store's order.
  std::vector<uint64_t> first_of_length(size_t{sequence_length_} + 2, 0);
  for_each_piece(*store_, sequence_length_, [&](uint64_t, uint32_t length) {
    ++first_of_length[sequence_length_ - length + 1];
    filled_positions_ += length;
  });
  std::partial_sum(first_of_length.begin(), first_of_length.end(), first_of_length.begin());
  const uint64_t count = first_of_length.back();
  std::vector<uint64_t> begins(count);
  std::vector<uint32_t> lengths(count);
  for_each_piece(*store_, sequence_length_, [&](uint64_t begin, uint32_t length) {
    const uint64_t at = first_of_length[sequence_length_ - length]++;
    begins[at] = begin;
    lengths[at] = length;
  });

  std::vector<uint64_t> window_of(count);
  CapacityIndex open(sequence_length_);
  for (uint64_t piece = 0; piece < count; ++piece) {
    uint32_t room = open.least_room(lengths[piece]);
    const uint64_t window = room == 0 ? windows_++ : open.take(room);
    if (room == 0) room = sequence_length_;
    window_of[piece] = window;
    if (room > lengths[piece]) open.add(window, room - lengths[piece]);
  }

  // By window, longest first in each.
  window_first_.assign(windows_ + 1, 0);
  for (const uint64_t window : window_of) ++window_first_[window + 1];
  std::partial_sum(window_first_.begin(), window_first_.end(), window_first_.begin());
  std::vector<uint64_t> next(window_first_.begin(), window_first_.end() - 1);
  piece_begin_.resize(count);
  piece_length_.resize(count);
  for (uint64_t piece = 0; piece < count; ++piece) {
    const uint64_t at = next[window_of[piece]]++;
    piece_begin_[at] = begins[piece];
    piece_length_[at] = lengths[piece];
  }
}

void Packing::pieces(uint64_t window, std::vector<Piece> &out) const {
  if (mode_ == Mode::kBestFit) {
    for (uint64_t i = window_first_[window]; i < window_first_[window + 1]; ++i) out.push_back({piece_begin_[i], piece_length_[i]});
    return;
  }
  const uint64_t window_end = (window + 1) * sequence_length_;
  uint64_t document = store_->document_of(window * sequence_length_);
  for (uint64_t begin = window * sequence_length_; begin < window_end; ++document) {
    const uint64_t document_end = store_->document_end(document), end = std::min(document_end, window_end);
    if (end > begin) out.push_back({begin, static_cast<uint32_t>(end - begin), end == document_end});
    begin = std::max(begin, end);
  }
}

Result<> Packing::append(uint64_t window, const Masks &masks, const SampleId &id, TokenBatch &batch) const {
  std::vector<Piece> window_pieces;
  pieces(window, window_pieces);
  const size_t first = batch.tokens.size(), end = first + sequence_length_;
  batch.tokens.resize(end, 0);
  batch.targets.resize(end, 0);
  batch.loss_weights.resize(end, 0.0f);
  batch.positions.resize(end, 0);
  std::vector<int32_t> ids;
  size_t at = first;
  const auto begin_document = [&] { batch.document_starts.push_back(static_cast<int32_t>(at)); };
  for (const Piece &piece : window_pieces) {
    ids.resize(size_t{piece.length} + 1);
    store_->read(piece.begin, ids);
    for (const int32_t token : ids) {
      if (static_cast<uint32_t>(token) >= store_->vocabulary_size()) {
        return failure(ErrorKind::kData, fmt::format("{}.bin: holds token {}; the tokenizer has ids 0 to {}: the store was altered",
                                                     store_->path(), token, int64_t{store_->vocabulary_size()} - 1));
      }
    }
    std::copy(ids.begin(), ids.end() - 1, batch.tokens.begin() + static_cast<ptrdiff_t>(at));
    std::copy(ids.begin() + 1, ids.end(), batch.targets.begin() + static_cast<ptrdiff_t>(at));
    for (uint32_t i = 0; i < piece.length; ++i)
      batch.loss_weights[at + i] = !masks.loss || store_->counts(piece.begin + i + 1) ? 1.0f : 0.0f;
    // A document that cannot see the next one has no way to foretell its first token.
    if (masks.document && piece.last_target_is_foreign) batch.loss_weights[at + piece.length - 1] = 0.0f;
    if (masks.document || at == first) begin_document();
    if (masks.document)
      std::iota(batch.positions.begin() + static_cast<ptrdiff_t>(at), batch.positions.begin() + static_cast<ptrdiff_t>(at + piece.length),
                0);
    at += piece.length;
  }
  if (!masks.document) {
    std::iota(batch.positions.begin() + static_cast<ptrdiff_t>(first), batch.positions.end(), 0);
  } else if (at < end) {  // padding is a document of its own, so that nothing sees it
    begin_document();
    std::iota(batch.positions.begin() + static_cast<ptrdiff_t>(at), batch.positions.end(), 0);
  }
  batch.samples.push_back(id);
  ++batch.sequences;
  return {};
}

TokenBatch empty_batch(uint32_t sequence_length) {
  TokenBatch batch;
  batch.sequence_length = sequence_length;
  return batch;
}

void finish_batch(TokenBatch &batch) { batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size())); }

}  // namespace trainhost
