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

  uint64_t documents() const { return document_ends_.size(); }
  uint64_t tokens() const { return document_ends_.empty() ? 0 : document_ends_.back(); }
  uint64_t bytes_of_text() const { return bytes_of_text_; }  // from the sidecar; 0 when it is absent
  // Tokens [begin, end) of the store are document i's, its end token included.
  uint64_t document_begin(uint64_t document) const { return document == 0 ? 0 : document_ends_[document - 1]; }
  uint64_t document_end(uint64_t document) const { return document_ends_[document]; }
  uint32_t token(uint64_t index) const;
  // Whether the token counts in the loss when it is the target.
  bool counts(uint64_t index) const;
  const std::string &path() const { return prefix_; }

 private:
  TokenStore() = default;
  std::string prefix_;
  std::vector<uint64_t> document_ends_;
  uint64_t bytes_of_text_ = 0;
  struct Mapping;
  std::unique_ptr<Mapping> mapping_;
};

}  // namespace trainhost
