// A token store made of given documents, written and opened as a run would.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/token_store.h"
#include "data/token_store_writer.h"

namespace trainhost {

using Documents = std::vector<std::vector<uint32_t>>;

// Throws, which fails the test, when the call did.
inline void require(const Result<> &result) {
  if (!result) throw std::runtime_error(result.error().message);
}

// masks: one per document, or none.
inline void write_store(const std::string &prefix, const Documents &documents, uint32_t vocabulary_size,
                        const std::vector<std::vector<uint8_t>> &masks = {}) {
  auto writer = TokenStoreWriter::create(posix_file_system(), prefix, vocabulary_size, !masks.empty()).value();
  for (size_t i = 0; i < documents.size(); ++i) {
    require(writer.add({documents[i], masks.empty() ? std::vector<uint8_t>() : masks[i], documents[i].size()}));
  }
  require(writer.finish(nlohmann::ordered_json::object()));
}

inline std::shared_ptr<const TokenStore> store_of(const std::string &prefix, const Documents &documents, uint32_t vocabulary_size = 65536,
                                                  const std::vector<std::vector<uint8_t>> &masks = {}) {
  write_store(prefix, documents, vocabulary_size, masks);
  return TokenStore::open(prefix, vocabulary_size).value();
}

// Documents of these lengths; all tokens of all documents are different, counting up from 0.
inline Documents counting_documents(const std::vector<uint32_t> &lengths) {
  Documents documents;
  uint32_t next = 0;
  for (const uint32_t length : lengths) {
    documents.emplace_back();
    for (uint32_t i = 0; i < length; ++i) documents.back().push_back(next++);
  }
  return documents;
}

}  // namespace trainhost
