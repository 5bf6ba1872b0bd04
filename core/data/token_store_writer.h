// Writes a token store: .bin and .mask while documents come, .idx and the sidecar at the end.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/file_system.h"
#include "base/hash.h"
#include "base/status.h"

namespace trainhost {

// The sidecar's "format".
inline constexpr const char *kTokenStoreFormat = "trainhost token store 1";

// A document's ids with its end token; counts has one entry per id (1: in the loss) or is empty when all count.
struct TokenizedDocument {
  std::vector<uint32_t> ids;
  std::vector<uint8_t> counts;
  uint64_t bytes_of_text = 0;
};

// One store being written. One thread.
class TokenStoreWriter {
 public:
  // Creates <prefix>.bin and, when masked, <prefix>.mask. Tokens are u16 for vocabularies below 65500, else i32. `files` must outlive
  // the writer. Errors are those of the file system.
  static Result<TokenStoreWriter> create(FileSystem &files, const std::string &prefix, uint32_t vocabulary_size, bool masked);

  // Every id is < vocabulary_size. An empty document is left out.
  Result<> add(const TokenizedDocument &document);
  // Makes the files durable and writes the index and the sidecar: the counts of the store, then `description`.
  Result<> finish(const nlohmann::ordered_json &description);

  uint64_t documents() const { return lengths_.size(); }
  uint64_t tokens() const { return tokens_; }

 private:
  explicit TokenStoreWriter(FileSystem &files) : files_(&files) {}
  Result<> flush();
  std::string index() const;

  FileSystem *files_;
  std::string prefix_;
  uint32_t vocabulary_size_ = 0;
  std::unique_ptr<WritableFile> token_file_, mask_file_;
  std::string token_buffer_, mask_buffer_;
  Sha256 token_hash_, mask_hash_;
  std::vector<int32_t> lengths_;
  uint64_t tokens_ = 0, bytes_of_text_ = 0, counted_tokens_ = 0;
  int64_t largest_id_ = -1;
};

}  // namespace trainhost
