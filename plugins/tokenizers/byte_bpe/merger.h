// Byte-pair encoding of one piece.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pair_table.h"
#include "vocabulary.h"

namespace trainhost::byte_bpe {

// Immutable after construction: many threads at once.
class Merger {
 public:
  explicit Merger(const Vocabulary &vocabulary);

  // Buffers that one thread uses again from piece to piece.
  struct Scratch {
    std::vector<uint32_t> symbols;
    std::vector<uint32_t> ranks;
    std::vector<uint32_t> list_of_rank;  // may be stale: it says where a list is if that list says the same
  };

  // The ids of the piece: while any two neighbours are a merge, the earliest merge in the vocabulary goes first, its leftmost place
  // before the others. Valid until scratch is used again. In n log n time for a long piece; the piece has less than 2^32 bytes.
  std::span<const uint32_t> merge(std::span<const uint8_t> piece, Scratch &scratch) const;

 private:
  static constexpr uint32_t kNoMerge = 0x7FFFFFFF;

  uint32_t rank_of(uint32_t left, uint32_t right) const {
    const uint32_t *rank = ranks_.find(make_pair(left, right));
    return rank == nullptr ? kNoMerge : *rank;
  }
  void merge_short(Scratch &scratch) const;
  void merge_long(Scratch &scratch) const;

  std::array<uint32_t, 256> byte_ids_;
  std::vector<Merge> merges_;  // by rank
  PairTable<uint32_t> ranks_;
};

}  // namespace trainhost::byte_bpe
