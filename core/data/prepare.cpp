#include "data/prepare.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/file_system.h"
#include "base/hash.h"
#include "base/log.h"
#include "data/data_cache.h"
#include "data/source_corpus.h"
#include "data/tokenized_source.h"

namespace trainhost {
namespace {

constexpr const char *kTokenizerFile = "/tokenizer.state";

// What one call of prepare_data works with.
struct Preparation {
  const Recipe &recipe;
  const Manifest &plugin;
  const PluginEvents &events;
  FileSystem &files;
  DataCache cache;
  FileHashes hashes;
  std::vector<std::optional<SourceCorpus>> corpora;  // one per source; none for those that are token stores
};

std::string megabytes(uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) * 1e-6); }

bool is_token_store(const Source &source) { return source.format == "tokens"; }

Result<> open_corpora(Preparation &work) {
  for (const Source &source : work.recipe.sources) {
    work.corpora.emplace_back();
    if (is_token_store(source)) continue;
    TRAINHOST_TRY(work.corpora.back(), SourceCorpus::open(source, work.hashes));
  }
  return work.hashes.save();
}

std::string text_of(const ParameterValue &value) {
  return std::visit([](const auto &item) { return fmt::format("{}", item); }, value);
}

// Everything that the tokenizer's state is made from.
std::string tokenizer_key(const Preparation &work) {
  std::string identity = fmt::format("tokenizer {} {} {}\n", work.plugin.id, work.plugin.version, work.plugin.sha256);
  for (const auto &[name, parameter] : work.recipe.tokenizer.parameters)
    identity += fmt::format("{} = {}\n", name, text_of(parameter.value));
  for (const auto &corpus : work.corpora) {
    if (corpus) identity += corpus->digest() + "\n";
  }
  return sha256(identity);
}

// The training documents of all sources, one after the other, as a tokenizer plugin asks for them.
class TrainingDocuments {
 public:
  explicit TrainingDocuments(const std::vector<std::optional<SourceCorpus>> &corpora) : corpora_(&corpora) {}

  Result<std::optional<std::string_view>> next() {
    while (true) {
      if (!reader_) {
        while (source_ < corpora_->size() && !(*corpora_)[source_]) ++source_;
        if (source_ == corpora_->size()) return std::nullopt;
        reader_.emplace((*corpora_)[source_++]->documents());
      }
      TRAINHOST_TRY(document_, reader_->next());
      if (!document_) {
        reader_.reset();
      } else if (!document_->held_out) {
        return document_->text;
      }
    }
  }

 private:
  const std::vector<std::optional<SourceCorpus>> *corpora_;
  size_t source_ = 0;
  std::optional<DocumentReader> reader_;
  std::optional<Document> document_;
};

Result<std::string> train_tokenizer(Preparation &work, const PluginInstance &instance) {
  uint64_t bytes = 0;
  for (auto &corpus : work.corpora) {
    if (!corpus) continue;
    TRAINHOST_CHECK(corpus->scan(work.events));
    bytes += corpus->bytes();
  }
  if (bytes == 0) {
    return failure(ErrorKind::kData, fmt::format("tokenizer \"{}\" learns from text, and no source has any", work.plugin.name));
  }
  log_info(fmt::format("training tokenizer {} on {} of text", work.plugin.name, megabytes(bytes)));
  TrainingDocuments documents(work.corpora);
  return Tokenizer::train(
      instance, [&] { return documents.next(); }, bytes);
}

// The tokenizer and the state that it was made from.
Result<> make_tokenizer(Preparation &work, PreparedData &data) {
  TRAINHOST_TRY(auto instance, PluginInstance::create(work.plugin, work.recipe.tokenizer.parameters, nullptr, work.events));
  TRAINHOST_TRY(const bool trainable, Tokenizer::is_trainable(*instance));
  if (trainable) {
    const auto fill = [&](const std::string &folder) -> Result<> {
      TRAINHOST_TRY(const std::string state, train_tokenizer(work, *instance));
      return write_atomically(work.files, folder + kTokenizerFile, state);
    };
    TRAINHOST_TRY(const std::string folder, work.cache.entry("tokenizers", tokenizer_key(work), fill));
    TRAINHOST_TRY(data.tokenizer_state, work.files.read(folder + kTokenizerFile));
  }
  TRAINHOST_TRY(data.tokenizer, Tokenizer::create(std::move(instance), data.tokenizer_state));
  return {};
}

// The source's stores, written if they are not there; its key goes to the fingerprint.
Result<PreparedSource> tokenize(Preparation &work, SourceCorpus &corpus, const Tokenizer &tokenizer, std::string &fingerprint) {
  const std::string key = sha256(fmt::format("stores\n{}\n{}\n", corpus.digest(), tokenizer.fingerprint()));
  const auto fill = [&](const std::string &folder) -> Result<> {
    TRAINHOST_CHECK(corpus.scan(work.events));
    log_info(fmt::format("tokenizing source {}, {}", corpus.source().name, megabytes(corpus.bytes())));
    TRAINHOST_CHECK(write_token_stores(corpus, tokenizer, work.files, folder, work.events));
    for (const SourceFile &file : corpus.files()) TRAINHOST_CHECK(work.hashes.check_unchanged(file.path));
    return {};
  };
  TRAINHOST_TRY(const std::string folder, work.cache.entry("stores", key, fill));
  const auto open = [&](const std::string &name) {
    return TokenStore::open(folder + "/" + name, tokenizer.vocabulary_size()).map_error([&](Error error) {
      error.message += fmt::format("; remove {} to have it prepared again", folder);
      return error;
    });
  };
  PreparedSource source{corpus.source().name, nullptr, nullptr};
  TRAINHOST_TRY(source.training, open("training"));
  TRAINHOST_TRY(source.held_out, open("held_out"));
  fingerprint += key + "\n";
  return source;
}

// Where the held-out documents of a foreign store begin: the last ones, in all at least the share of its tokens; never all, and one at
// least where there are two.
uint64_t first_held_out(const TokenStore &store, double share) {
  if (share <= 0 || store.documents() < 2) return store.documents();
  const auto wanted = static_cast<uint64_t>(share * static_cast<double>(store.tokens()));
  const uint64_t first = store.document_of(store.tokens() - std::max<uint64_t>(wanted, 1));
  return std::max<uint64_t>(first, 1);
}

Result<PreparedSource> open_store(Preparation &work, const Source &source, const Tokenizer &tokenizer, std::string &fingerprint) {
  if (source.paths.size() != 1) {
    return failure(ErrorKind::kData,
                   fmt::format("source \"{}\": has {} paths; expected the one of a token store", source.name, source.paths.size()));
  }
  std::string prefix = source.paths.front();
  if (prefix.ends_with(".idx") || prefix.ends_with(".bin")) prefix.resize(prefix.size() - 4);
  TRAINHOST_TRY(const auto store, TokenStore::open(prefix, tokenizer.vocabulary_size()));
  for (const char *ending : {".idx", ".bin", ".mask"}) {
    if (!work.files.exists(prefix + ending)) continue;
    TRAINHOST_TRY(const std::string digest, work.hashes.sha256(prefix + ending));
    fingerprint += digest + ending + "\n";
  }
  fingerprint += fmt::format("held_out {}\n", source.held_out);
  const uint64_t first = first_held_out(*store, source.held_out);
  return PreparedSource{source.name, store->slice(0, first), store->slice(first, store->documents())};
}

uint32_t longest_window(const Recipe &recipe) {
  uint32_t longest = 0;
  for (const Phase &phase : recipe.phases)
    longest = std::max(longest, phase.overrides.sequence_length.value_or(recipe.packing.sequence_length));
  return longest;
}

Result<> check_size(const Recipe &recipe, const PreparedSource &source) {
  const uint64_t tokens = source.training->tokens();
  if (tokens == 0) return failure(ErrorKind::kData, fmt::format("source \"{}\": holds no text to train on", source.name));
  const uint32_t window = longest_window(recipe);
  if (tokens > window) return {};
  return failure(ErrorKind::kData, fmt::format("source \"{}\": has {} tokens to train on, less than one window of {} and its last target; "
                                               "give it more text or a shorter sequence_length",
                                               source.name, tokens, window));
}

void log_totals(const PreparedData &data) {
  uint64_t training = 0, held_out = 0;
  for (const PreparedSource &source : data.sources) {
    training += source.training->tokens();
    held_out += source.held_out->tokens();
  }
  log_info(fmt::format("data: {} sources, {} tokens to train on, {} held out", data.sources.size(), training, held_out));
}

}  // namespace

Result<PreparedData> prepare_data(const Recipe &recipe, const Manifest &tokenizer_plugin, const PluginEvents &events) {
  FileSystem &files = posix_file_system();
  const std::string folder = DataCache::default_folder(recipe.run.directory);
  Preparation work{
      recipe, tokenizer_plugin, events, files, DataCache(folder, files, events.cancelled), FileHashes(folder + "/files", files), {}};
  TRAINHOST_CHECK(open_corpora(work));
  PreparedData data;
  TRAINHOST_CHECK(make_tokenizer(work, data));
  std::string fingerprint = data.tokenizer->fingerprint() + "\n";
  for (size_t i = 0; i < recipe.sources.size(); ++i) {
    TRAINHOST_TRY(PreparedSource source, is_token_store(recipe.sources[i])
                                             ? open_store(work, recipe.sources[i], *data.tokenizer, fingerprint)
                                             : tokenize(work, *work.corpora[i], *data.tokenizer, fingerprint));
    TRAINHOST_CHECK(check_size(recipe, source));
    data.sources.push_back(std::move(source));
  }
  TRAINHOST_CHECK(work.hashes.save());
  data.fingerprint = sha256(fingerprint);
  log_totals(data);
  return data;
}

}  // namespace trainhost
