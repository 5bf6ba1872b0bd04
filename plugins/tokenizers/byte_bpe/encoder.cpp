#include "encoder.h"

#include "splitter.h"
#include "trainhost/cpp/plugin.hpp"

namespace trainhost::byte_bpe {
namespace {

constexpr size_t kBlock = 4096;  // ids per call of the sink, at least

}  // namespace

Encoder::Loan::Loan(const Encoder &encoder) : encoder_(encoder) {
  {
    const std::lock_guard lock(encoder_.mutex_);
    if (!encoder_.idle_.empty()) {
      workspace_ = std::move(encoder_.idle_.back());
      encoder_.idle_.pop_back();
    }
  }
  if (!workspace_) workspace_ = std::make_unique<Workspace>();
  workspace_->block.clear();
}

Encoder::Loan::~Loan() {
  const std::lock_guard lock(encoder_.mutex_);
  encoder_.idle_.push_back(std::move(workspace_));
}

void Encoder::encode(std::span<const uint8_t> text, const th_sink *ids) const {
  const Loan loan(*this);
  Workspace &workspace = *loan;
  const uint8_t *end = text.data() + text.size();
  for (const uint8_t *piece = text.data(); piece < end;) {
    const uint8_t *after = piece_end(piece, end);
    encode_piece({piece, after}, end, workspace);
    piece = after;
    if (workspace.block.size() < kBlock) continue;
    sdk::append(ids, std::span<const uint32_t>(workspace.block));
    workspace.block.clear();
  }
  sdk::append(ids, std::span<const uint32_t>(workspace.block));
}

void Encoder::encode_piece(std::span<const uint8_t> piece, const uint8_t *end, Workspace &workspace) const {
  auto &[cache, scratch, block] = workspace;
  if (piece.size() > PieceCache::kLongestPiece) {
    if (piece.size() >= UINT32_MAX) throw sdk::Failure(TH_UNSUPPORTED, "a piece of text without a place to split it has 4 GiB or more");
    const auto ids = merger_.merge(piece, scratch);
    block.insert(block.end(), ids.begin(), ids.end());
    return;
  }
  const auto key = PieceCache::key_of(piece, end);
  if (const auto *entry = cache.find(key)) {
    block.insert(block.end(), entry->ids, entry->ids + entry->count);
    return;
  }
  const auto ids = merger_.merge(piece, scratch);
  if (ids.size() <= PieceCache::kMostIds) cache.insert(key, ids);
  block.insert(block.end(), ids.begin(), ids.end());
}

}  // namespace trainhost::byte_bpe
