// How the documents of a store are laid into windows of T positions.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/batch.h"
#include "data/token_store.h"

namespace trainhost {

// A run of one document in a window: inputs are tokens [begin, begin + length) of the store, targets those one further on.
struct Piece {
  uint64_t begin = 0;
  uint32_t length = 0;
  bool last_target_is_foreign = false;  // the last target is another document's first token
  bool operator==(const Piece &) const = default;
};

// The windows of one store at one sequence length. Immutable; many threads at once. The store must outlive it.
//
// best_fit (Ding et al. 2024, arXiv 2404.10830): a document of n + 1 tokens fills n positions, as its last token is only a target.
// Longer documents are cut into pieces of T inputs, the next one beginning with the token that was the last target, so no pair of
// input and target is lost; a document that fits is never cut. Pieces go, longest first, into the window with the least room that
// still takes them. What room is left is padding.
//
// concatenate: the documents one after the other, cut every T tokens; the tokens that do not fill a last window are left out.
class Packing {
 public:
  enum class Mode { kBestFit, kConcatenate };
  // "best_fit" or "concatenate", as in a recipe.
  static Mode mode(std::string_view name) { return name == "concatenate" ? Mode::kConcatenate : Mode::kBestFit; }

  // Time is linear in documents and windows. Memory: 12 bytes a piece and 8 a window for best_fit; none for concatenate.
  Packing(const TokenStore &store, Mode mode, uint32_t sequence_length);

  uint64_t windows() const { return windows_; }
  uint64_t filled_positions() const { return filled_positions_; }  // of all windows: what is not padding
  uint32_t sequence_length() const { return sequence_length_; }

  // The window's pieces in order, appended.
  void pieces(uint64_t window, std::vector<Piece> &out) const;

  struct Masks {
    bool document = true;  // attention stops at the borders of documents: positions restart with each piece, else they run through
    bool loss = true;      // only tokens that the store says count in the loss do, else all
  };
  // Appends the window to a batch of this sequence length as its next sequence. Fails with kData for an id outside the vocabulary.
  Result<> append(uint64_t window, const Masks &masks, const SampleId &id, TokenBatch &batch) const;

 private:
  void pack_best_fit();
  void pack_concatenated();

  const TokenStore *store_;
  Mode mode_;
  uint32_t sequence_length_;
  uint64_t windows_ = 0, filled_positions_ = 0;
  std::vector<uint64_t> window_first_;  // best_fit: window w has pieces [window_first_[w], window_first_[w + 1])
  std::vector<uint64_t> piece_begin_;
  std::vector<uint32_t> piece_length_;
};

// An empty batch of that shape.
TokenBatch empty_batch(uint32_t sequence_length);
// Ends a batch that windows were appended to.
void finish_batch(TokenBatch &batch);

}  // namespace trainhost
