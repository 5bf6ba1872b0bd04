// A tokenizer of bytes and words: every place of a text gives the id of the longest word of the vocabulary that begins there, or of its
// byte. The words are the most frequent ones of the training text (training.h); the vocabulary and its file format are in vocabulary.h.
#include <trainhost/ext/tokenizer_train.h>
#include <trainhost/cpp/tokenizer.hpp>

#include <algorithm>
#include <vector>

#include "training.h"
#include "vocabulary.h"

namespace {

using namespace trainhost::sdk;

constexpr size_t kBlock = 4096;               // items per call of a sink
constexpr uint64_t kReportEvery = 4'000'000;  // bytes; a fraction of a second

class Words {
 public:
  Words(const Host &, const Config &, std::span<const uint8_t> state) : vocabulary_(Vocabulary::from_state(state)) {}

  void describe(th_tokenizer_info &out) const {
    out.vocabulary_size = vocabulary_.size();
    out.end_id = kEnd;
    const std::string state = vocabulary_.to_state();
    for (size_t i = 0; i < sizeof out.fingerprint; i += 8) {  // four hashes from different beginnings
      const uint64_t hash = fnv1a({reinterpret_cast<const uint8_t *>(state.data()), state.size()}, i);
      std::memcpy(out.fingerprint + i, &hash, sizeof hash);
    }
  }

  void encode(std::span<const uint8_t> text, const th_sink *ids) const {
    std::vector<uint32_t> block;
    while (!text.empty()) {
      const auto [id, length] = vocabulary_.longest_match(text);
      block.push_back(id);
      text = text.subspan(length);
      if (block.size() == kBlock) flush(block, ids);
    }
    flush(block, ids);
  }

  void decode(std::span<const uint32_t> ids, const th_sink *bytes) const {
    std::vector<uint8_t> block;
    for (const uint32_t id : ids) {
      if (id >= vocabulary_.size()) {
        throw Failure(TH_INVALID,
                      "id " + std::to_string(id) + " is not in the vocabulary: expected 0 to " + std::to_string(vocabulary_.size() - 1));
      }
      const std::string_view spelling = vocabulary_.spelling(id);
      block.insert(block.end(), spelling.begin(), spelling.end());
      if (block.size() >= kBlock) flush(block, bytes);
    }
    flush(block, bytes);
  }

  static const void *extension(std::string_view id) {
    static constexpr th_tokenizer_train table{sizeof(th_tokenizer_train), 0, train};
    return id == TH_EXT_TOKENIZER_TRAIN ? &table : nullptr;
  }

 private:
  template <class Item>
  static void flush(std::vector<Item> &block, const th_sink *sink) {
    if (!block.empty()) append(sink, std::span<const Item>(block));
    block.clear();
  }

  static th_status train(const th_host *host, const th_config *config, const th_document_source *documents, const th_sink *state) {
    return guard(host, [&] {
      const Config parameters(host, config);
      const auto most = static_cast<size_t>(parameters.integer("vocabulary_size")) - kFirstWord;
      const WordCounts counts = count_words(Host(host), *documents);
      const Vocabulary vocabulary(counts.most_frequent(most, static_cast<uint64_t>(parameters.integer("fewest"))));
      append(state, std::span<const char>(vocabulary.to_state()));
    });
  }

  static WordCounts count_words(const Host &host, const th_document_source &documents) {
    WordCounts counts;
    uint64_t done = 0, report = 0;
    for (th_bytes document{}; check(documents.next(documents.context, &document), "the next document"), document.data != nullptr;) {
      counts.add(view(document));
      done += document.length;
      if (host.cancelled()) throw Failure(TH_CANCELLED, "stopped while counting words");
      if (done < report) continue;
      host.progress("counting words", done, documents.total_bytes);
      report = done + kReportEvery;
    }
    host.progress("counting words", documents.total_bytes, documents.total_bytes);
    return counts;
  }

  Vocabulary vocabulary_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_TOKENIZER, tokenizer_table<Words>)
