#include "data/token_store_writer.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/megatron_index.h"

namespace trainhost {
namespace {

constexpr size_t kBufferBytes = 1 << 20;

template <class Integer>
void store(std::string &bytes, Integer value) {
  bytes.append(reinterpret_cast<const char *>(&value), sizeof value);
}

Result<> write_buffer(WritableFile &file, Sha256 &hash, std::string &buffer) {
  hash.update(buffer);
  TRAINHOST_CHECK(file.append(buffer));
  buffer.clear();
  return {};
}

}  // namespace

Result<TokenStoreWriter> TokenStoreWriter::create(FileSystem &files, const std::string &prefix, uint32_t vocabulary_size, bool masked) {
  TokenStoreWriter writer(files);
  writer.prefix_ = prefix;
  writer.vocabulary_size_ = vocabulary_size;
  TRAINHOST_TRY(writer.token_file_, files.create(prefix + ".bin"));
  if (masked) {
    TRAINHOST_TRY(writer.mask_file_, files.create(prefix + ".mask"));
  }
  return writer;
}

Result<> TokenStoreWriter::add(const TokenizedDocument &document) {
  if (document.ids.empty()) return {};
  if (document.ids.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return failure(ErrorKind::kData,
                   fmt::format("{}: a document of {} tokens; the format holds at most 2^31 - 1", prefix_, document.ids.size()));
  }
  const bool narrow = megatron::token_type_for(vocabulary_size_) == megatron::TokenType::kU16;
  for (const uint32_t id : document.ids) {
    narrow ? store(token_buffer_, static_cast<uint16_t>(id)) : store(token_buffer_, id);
  }
  largest_id_ = std::max<int64_t>(largest_id_, *std::max_element(document.ids.begin(), document.ids.end()));
  if (mask_file_ != nullptr) {
    if (document.counts.empty()) mask_buffer_.append(document.ids.size(), '\1');
    mask_buffer_.append(document.counts.begin(), document.counts.end());
  }
  lengths_.push_back(static_cast<int32_t>(document.ids.size()));
  tokens_ += document.ids.size();
  bytes_of_text_ += document.bytes_of_text;
  counted_tokens_ += document.counts.empty() ? document.ids.size()
                                             : static_cast<uint64_t>(std::count_if(document.counts.begin(), document.counts.end(),
                                                                                   [](uint8_t counts) { return counts != 0; }));
  return token_buffer_.size() < kBufferBytes ? Result<>{} : flush();
}

Result<> TokenStoreWriter::flush() {
  TRAINHOST_CHECK(write_buffer(*token_file_, token_hash_, token_buffer_));
  return mask_file_ == nullptr ? Result<>{} : write_buffer(*mask_file_, mask_hash_, mask_buffer_);
}

std::string TokenStoreWriter::index() const {
  const megatron::TokenType type = megatron::token_type_for(vocabulary_size_);
  std::string bytes;
  bytes.reserve(megatron::kHeaderBytes + 20 * lengths_.size() + 8);
  bytes += megatron::kMagic;
  store(bytes, megatron::kVersion);
  store(bytes, type);
  store<uint64_t>(bytes, lengths_.size());
  store<uint64_t>(bytes, lengths_.size() + 1);
  for (const int32_t length : lengths_) store(bytes, length);
  int64_t offset = 0;
  for (const int32_t length : lengths_) {
    store(bytes, offset);
    offset += length * static_cast<int64_t>(megatron::token_bytes(type));
  }
  for (size_t i = 0; i <= lengths_.size(); ++i) store<int64_t>(bytes, static_cast<int64_t>(i));
  return bytes;
}

Result<> TokenStoreWriter::finish(const nlohmann::ordered_json &description) {
  TRAINHOST_CHECK(flush());
  nlohmann::ordered_json sidecar = {{"format", kTokenStoreFormat},         {"documents", documents()},          {"tokens", tokens_},
                                    {"bytes_of_text", bytes_of_text_},     {"counted_tokens", counted_tokens_}, {"largest_id", largest_id_},
                                    {"vocabulary_size", vocabulary_size_}, {"bin_sha256", token_hash_.finish()}};
  TRAINHOST_CHECK(token_file_->sync());
  TRAINHOST_CHECK(token_file_->close());
  if (mask_file_ != nullptr) {
    sidecar["mask_sha256"] = mask_hash_.finish();
    TRAINHOST_CHECK(mask_file_->sync());
    TRAINHOST_CHECK(mask_file_->close());
  }
  const std::string index_bytes = index();
  sidecar["idx_sha256"] = sha256(index_bytes);
  sidecar.update(description);
  TRAINHOST_CHECK(write_atomically(*files_, prefix_ + ".idx", index_bytes));
  return write_atomically(*files_, prefix_ + ".json", sidecar.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace trainhost
