// Text to ids.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "merger.h"
#include "piece_cache.h"
#include "trainhost/kinds/tokenizer.h"

namespace trainhost::byte_bpe {

// Many threads at once: each call borrows a workspace with its own cache, so nothing is shared while it runs.
class Encoder {
 public:
  explicit Encoder(const Vocabulary &vocabulary) : merger_(vocabulary) {}

  // Appends the ids of any bytes to the sink, in blocks. Throws Failure when the sink fails or a piece has 2^32 bytes or more.
  void encode(std::span<const uint8_t> text, const th_sink *ids) const;

 private:
  struct Workspace {
    PieceCache cache;
    Merger::Scratch scratch;
    std::vector<uint32_t> block;  // ids that the sink does not have yet
  };
  // A workspace while a call needs it.
  class Loan {
   public:
    explicit Loan(const Encoder &encoder);
    ~Loan();
    Workspace &operator*() const { return *workspace_; }

   private:
    const Encoder &encoder_;
    std::unique_ptr<Workspace> workspace_;
  };

  void encode_piece(std::span<const uint8_t> piece, const uint8_t *end, Workspace &workspace) const;

  Merger merger_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;  // guarded by mutex_; as many as threads ever encoded at once
};

}  // namespace trainhost::byte_bpe
