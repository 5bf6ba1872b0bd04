// The tokenizer that needs no training: the id of a byte is its value, 256 ends a document.
#include <algorithm>
#include <array>

#include "trainhost/cpp/tokenizer.hpp"

namespace {

using trainhost::sdk::append;
using trainhost::sdk::Config;
using trainhost::sdk::Failure;
using trainhost::sdk::Host;

constexpr uint32_t kEndId = 256;
constexpr uint32_t kVocabularySize = 257;
constexpr std::string_view kFingerprint = "trainhost byte tokenizer 1";
constexpr size_t kBlock = 4096;  // ids or bytes per call of the sink

class ByteTokenizer {
 public:
  ByteTokenizer(const Host &, const Config &, std::span<const uint8_t> state) {
    if (state.empty()) return;
    throw Failure(TH_INVALID, "the tokenizer state has " + std::to_string(state.size()) + " bytes, expected none: byte has no state");
  }

  void describe(th_tokenizer_info &out) const {
    out.vocabulary_size = kVocabularySize;
    out.end_id = kEndId;
    std::ranges::fill(out.fingerprint, uint8_t{0});
    std::ranges::copy(kFingerprint, out.fingerprint);
  }

  void encode(std::span<const uint8_t> text, const th_sink *ids) const {
    std::array<uint32_t, kBlock> block;
    for (size_t begin = 0; begin < text.size(); begin += kBlock) {
      const auto part = text.subspan(begin, std::min(kBlock, text.size() - begin));
      std::ranges::copy(part, block.begin());
      append(ids, std::span<const uint32_t>(block.data(), part.size()));
    }
  }

  void decode(std::span<const uint32_t> ids, const th_sink *bytes) const {
    std::array<uint8_t, kBlock> block;
    for (size_t begin = 0; begin < ids.size(); begin += kBlock) {
      size_t size = 0;
      for (const uint32_t id : ids.subspan(begin, std::min(kBlock, ids.size() - begin))) {
        if (id >= kVocabularySize) throw Failure(TH_INVALID, "id " + std::to_string(id) + " is not in the vocabulary: expected 0 to 256");
        if (id != kEndId) block[size++] = static_cast<uint8_t>(id);
      }
      append(bytes, std::span<const uint8_t>(block.data(), size));
    }
  }

  static const void *extension(std::string_view) { return nullptr; }
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_TOKENIZER, trainhost::sdk::tokenizer_table<ByteTokenizer>)
