// Token stores in Megatron's format (.bin, .idx) with a JSON sidecar and, where the loss is masked, one byte a token (.mask).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace trainhost {

// An open store, memory-mapped read-only. Immutable; many threads at once.
class TokenStore {
 public:
  // prefix: path without ".idx". Checks header, sizes and that documents tile the .bin exactly; with an id >= vocabulary_size in it,
  // kData naming file and document. Fails with kData naming the file and what is wrong.
  static Result<std::shared_ptr<const TokenStore>> open(const std::string &prefix, uint32_t vocabulary_size);
  ~TokenStore();

  // Documents [first, end) as a store of their own over the same memory.
  std::shared_ptr<const TokenStore> slice(uint64_t first, uint64_t end) const;

  uint64_t documents() const { return document_ends_.size(); }
  uint64_t tokens() const { return document_ends_.empty() ? 0 : document_ends_.back(); }
  uint64_t bytes_of_text() const { return bytes_of_text_; }  // from the sidecar; 0 when it is absent
  uint32_t vocabulary_size() const { return vocabulary_size_; }

  // Tokens [begin, end) of the store are document i's, its end token included.
  uint64_t document_begin(uint64_t document) const { return document == 0 ? 0 : document_ends_[document - 1]; }
  uint64_t document_end(uint64_t document) const { return document_ends_[document]; }
  // The document that holds the token.
  uint64_t document_of(uint64_t index) const;

  uint32_t token(uint64_t index) const;
  // Tokens [begin, begin + out.size()).
  void read(uint64_t begin, std::span<int32_t> out) const;
  // Whether the token counts in the loss when it is the target.
  bool counts(uint64_t index) const;

  // Fails with kData when a file was cut, grown or rewritten since open: reading memory beyond the end of a cut file would kill the
  // process, so whoever reads a batch asks first.
  Result<> check_unchanged() const;
  const std::string &path() const { return prefix_; }

 private:
  struct Mapping;
  TokenStore() = default;
  std::string prefix_;
  std::vector<uint64_t> document_ends_;  // in tokens from first_token_
  uint64_t first_token_ = 0;             // in the mapped files
  uint64_t bytes_of_text_ = 0;
  uint32_t vocabulary_size_ = 0;
  std::shared_ptr<const Mapping> mapping_;
};

}  // namespace trainhost
