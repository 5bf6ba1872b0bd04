#include "data/tokenized_source.h"

#include <atomic>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "data/chat_marker.h"
#include "data/token_store_writer.h"
#include "device/thread_pool.h"

namespace trainhost {
namespace {

constexpr size_t kBatchBytes = size_t{8} << 20;  // text read before it is encoded

Result<TokenizedDocument> encode(const Document &document, const Tokenizer &tokenizer, bool masked) {
  TokenizedDocument tokenized;
  tokenized.bytes_of_text = document.text.size();
  const Segment whole{document.text.size(), true};
  std::string_view rest = document.text;
  bool counts = true;
  for (const Segment &segment : document.segments.empty() ? std::span(&whole, 1) : std::span(document.segments)) {
    counts = segment.counts;
    TRAINHOST_CHECK(tokenizer.encode(rest.substr(0, segment.length), tokenized.ids));
    rest.remove_prefix(segment.length);
    if (masked) tokenized.counts.resize(tokenized.ids.size(), counts);
  }
  if (tokenizer.end_id()) tokenized.ids.push_back(*tokenizer.end_id());
  if (masked) tokenized.counts.resize(tokenized.ids.size(), counts);  // the end belongs to what it ends
  return tokenized;
}

// All documents of a batch, on all threads. They differ in length, so each thread takes the next one as it gets free.
Result<std::vector<TokenizedDocument>> encode_all(const std::vector<Document> &documents, const Tokenizer &tokenizer, bool masked) {
  std::vector<std::optional<Result<TokenizedDocument>>> results(documents.size());
  std::atomic<size_t> next = 0;
  parallel_for(thread_count(), 1, [&](int64_t, int64_t) {
    for (size_t i; (i = next++) < documents.size();) results[i] = encode(documents[i], tokenizer, masked);
  });
  std::vector<TokenizedDocument> tokenized;
  for (auto &result : results) {
    if (!*result) return tl::unexpected(std::move(*result).error());
    tokenized.push_back(**std::move(result));
  }
  return tokenized;
}

// Documents with control tokens of a chat template.
struct MarkedDocuments {
  uint64_t marked = 0, all = 0;
  std::string_view first;  // marker

  void add(const std::vector<Document> &documents) {
    std::vector<std::string_view> markers(documents.size());
    parallel_for(static_cast<int64_t>(documents.size()), 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) markers[i] = chat_marker(documents[i].text);
    });
    all += documents.size();
    for (const std::string_view marker : markers) {
      if (marker.empty()) continue;
      if (marked++ == 0) first = marker;
    }
  }

  void warn(const Source &source) const {
    if (marked == 0) return;
    log_warning(fmt::format(
        "source \"{}\": {} of {} documents hold control tokens of a chat template, as \"{}\", and the model learns to write them; "
        "clean the text, or give its turns as chat lines",
        source.name, marked, all, first));
  }
};

nlohmann::ordered_json description(const SourceCorpus &corpus, const Tokenizer &tokenizer, const MarkedDocuments &marked) {
  const Source &source = corpus.source();
  auto inputs = nlohmann::ordered_json::array();
  for (const SourceFile &file : corpus.files()) {
    inputs.push_back({{"path", file.path}, {"format", to_string(file.format)}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  return {
      {"source", {{"name", source.name}, {"language", source.language}, {"quality", source.quality}, {"licence", source.licence}}},
      {"settings", {{"loss_on", source.loss_on}, {"held_out", source.held_out}, {"on_bad_input", source.on_bad_input}}},
      {"tokenizer", {{"id", tokenizer.manifest().id}, {"version", tokenizer.manifest().version}, {"fingerprint", tokenizer.fingerprint()}}},
      {"skipped", corpus.report().summary()},
      {"documents_with_chat_tokens", marked.marked},
      {"inputs", inputs}};
}

}  // namespace

Result<> write_token_stores(const SourceCorpus &corpus, const Tokenizer &tokenizer, FileSystem &files, const std::string &folder,
                            const PluginEvents &events) {
  const std::string what = fmt::format("tokenizing {}", corpus.source().name);
  const bool masked = corpus.answers_only();
  TRAINHOST_TRY(auto training, TokenStoreWriter::create(files, folder + "/training", tokenizer.vocabulary_size(), masked));
  TRAINHOST_TRY(auto held_out, TokenStoreWriter::create(files, folder + "/held_out", tokenizer.vocabulary_size(), masked));
  DocumentReader reader = corpus.documents();
  MarkedDocuments marked;
  for (bool more = true; more;) {
    std::vector<Document> documents;
    for (size_t bytes = 0; more && bytes < kBatchBytes;) {
      TRAINHOST_TRY(std::optional<Document> document, reader.next());
      more = document.has_value();
      if (!more) break;
      bytes += document->text.size();
      documents.push_back(*std::move(document));
    }
    TRAINHOST_TRY(const std::vector<TokenizedDocument> tokenized, encode_all(documents, tokenizer, masked));
    for (size_t i = 0; i < documents.size(); ++i) TRAINHOST_CHECK((documents[i].held_out ? held_out : training).add(tokenized[i]));
    marked.add(documents);
    TRAINHOST_CHECK(check_cancelled(events, what));
    report_progress(events, what, reader.bytes_read(), corpus.bytes());
  }
  if (events.progress) events.progress(what, corpus.bytes(), corpus.bytes());
  marked.warn(corpus.source());
  const nlohmann::ordered_json text = description(corpus, tokenizer, marked);
  TRAINHOST_CHECK(training.finish(text));
  return held_out.finish(text);
}

}  // namespace trainhost
