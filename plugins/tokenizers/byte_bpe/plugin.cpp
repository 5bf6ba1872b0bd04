// Byte-pair encoding over bytes, split as GPT-2 splits. For the same vocabulary and merges the ids of valid UTF-8 are those of Hugging Face
// tokenizers 0.23.3: the classes of all code points are taken from it, and none differs. It never sees invalid UTF-8; here each invalid
// byte splits as a symbol does, and comes back from decode as it was. The spelling of a special token in a text is text, as it is there
// with encode_special_tokens = True.
#include <algorithm>
#include <memory>
#include <string>

#include "encoder.h"
#include "tokenizer_json.h"
#include "trainer.h"
#include "trainhost/cpp/tokenizer.hpp"

namespace trainhost::byte_bpe {
namespace {

using sdk::Config;
using sdk::Failure;
using sdk::Host;

constexpr size_t kBlock = 4096;  // bytes per call of the sink, at least

Vocabulary vocabulary_of(const Config &config, std::span<const uint8_t> state) {
  if (state.empty()) throw Failure(TH_INVALID, "the tokenizer has no state: train it first, or give it a tokenizer.json");
  Vocabulary vocabulary = read_tokenizer_json({reinterpret_cast<const char *>(state.data()), state.size()});
  const auto most = static_cast<size_t>(config.integer("vocabulary_size"));
  if (vocabulary.tokens.size() <= most) return vocabulary;
  throw Failure(TH_INVALID, "tokenizer.json has " + std::to_string(vocabulary.tokens.size()) +
                                " tokens, expected at most vocabulary_size = " + std::to_string(most) +
                                ": raise vocabulary_size, or train again");
}

class ByteBpe {
 public:
  ByteBpe(const Host &, const Config &config, std::span<const uint8_t> state)
      : vocabulary_(vocabulary_of(config, state)), encoder_(std::make_unique<Encoder>(vocabulary_)) {}

  void describe(th_tokenizer_info &out) const {
    out.vocabulary_size = static_cast<uint32_t>(vocabulary_.tokens.size());
    out.end_id = vocabulary_.end_id ? static_cast<int32_t>(*vocabulary_.end_id) : -1;
    std::ranges::copy(fingerprint(vocabulary_), out.fingerprint);
  }

  void encode(std::span<const uint8_t> text, const th_sink *ids) const { encoder_->encode(text, ids); }

  void decode(std::span<const uint32_t> ids, const th_sink *bytes) const {
    std::string block;
    for (const uint32_t id : ids) {
      block += bytes_of(id);
      if (block.size() < kBlock) continue;
      send(block, bytes);
      block.clear();
    }
    send(block, bytes);
  }

  static const void *extension(std::string_view id);

 private:
  std::string_view bytes_of(uint32_t id) const {
    if (id >= vocabulary_.tokens.size()) {
      throw Failure(TH_INVALID, "id " + std::to_string(id) + " is not in the vocabulary: expected 0 to " +
                                    std::to_string(vocabulary_.tokens.size() - 1));
    }
    const Token &token = vocabulary_.tokens[id];
    return token.special ? std::string_view() : token.bytes;
  }
  static void send(const std::string &block, const th_sink *bytes) {
    sdk::append(bytes, std::span(reinterpret_cast<const uint8_t *>(block.data()), block.size()));
  }

  Vocabulary vocabulary_;
  std::unique_ptr<Encoder> encoder_;
};

th_status train_state(const th_host *host, const th_config *config, const th_document_source *documents, const th_sink *state) {
  return sdk::guard(host, [&] {
    const auto size = static_cast<uint32_t>(Config(host, config).integer("vocabulary_size"));
    const Vocabulary vocabulary = train(Host(host), size, *documents);
    if (vocabulary.tokens.size() < size) {
      Host(host).log(2, "the text has pairs for " + std::to_string(vocabulary.tokens.size()) +
                            " tokens only, not for vocabulary_size = " + std::to_string(size));
    }
    const std::string json = write_tokenizer_json(vocabulary);
    sdk::append(state, std::span(reinterpret_cast<const uint8_t *>(json.data()), json.size()));
  });
}

const void *ByteBpe::extension(std::string_view id) {
  static constexpr th_tokenizer_train kTrain{sizeof(th_tokenizer_train), 0, train_state};
  return id == TH_EXT_TOKENIZER_TRAIN ? &kTrain : nullptr;
}

}  // namespace
}  // namespace trainhost::byte_bpe

TRAINHOST_PLUGIN(TH_KIND_TOKENIZER, trainhost::sdk::tokenizer_table<trainhost::byte_bpe::ByteBpe>)
