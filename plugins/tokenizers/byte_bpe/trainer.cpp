#include "trainer.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <queue>

#include "pair_table.h"
#include "splitter.h"
#include "word_counts.h"

namespace trainhost::byte_bpe {
namespace {

constexpr size_t kBatchBytes = size_t{16} << 20;    // of text in memory at once, one document aside
constexpr size_t kSegmentBytes = size_t{64} << 10;  // what one thread counts at a time, at least
constexpr int64_t kShards = 64;                     // the most threads that count at once

// Shows progress a few times a second and ends the work when the run is being stopped.
class Watch {
 public:
  Watch(const sdk::Host &host, std::string_view what, uint64_t total) : host_(host), what_(what), total_(total) {}
  ~Watch() { host_.progress(what_, total_, total_); }

  void see(uint64_t done) {
    const auto now = std::chrono::steady_clock::now();
    if (now - shown_ < std::chrono::milliseconds(250)) return;
    shown_ = now;
    host_.progress(what_, std::min(done, total_), total_);
    if (host_.cancelled()) throw sdk::Failure(TH_CANCELLED, "stopped while " + std::string(what_));
  }

 private:
  const sdk::Host &host_;
  std::string_view what_;
  uint64_t total_;
  std::chrono::steady_clock::time_point shown_{};
};

// Counts the pieces of documents, batch by batch, on the host's threads.
class WordCounter {
 public:
  explicit WordCounter(const sdk::Host &host) : host_(host), shards_(kShards) {}

  void add(std::span<const uint8_t> document) {
    if (batch_.size() + document.size() > kBatchBytes) count_batch();
    document_ends_.push_back(batch_.size() + document.size());
    batch_.insert(batch_.end(), document.begin(), document.end());
  }
  WordCounts finish() {
    count_batch();
    WordCounts total = std::move(shards_[0]);
    for (size_t shard = 1; shard < shards_.size(); ++shard) {
      for (const auto &[word, count] : shards_[shard].sorted()) total.add(word, count);
    }
    return total;
  }

 private:
  // A document's text, or a part of a long one that splits as in the whole.
  std::vector<std::span<const uint8_t>> segments() const {
    std::vector<std::span<const uint8_t>> result;
    const uint8_t *begin = batch_.data();
    for (const size_t document_end : document_ends_) {
      const uint8_t *end = batch_.data() + document_end;
      while (begin < end) {
        const auto least = std::min<size_t>(kSegmentBytes, end - begin);
        const uint8_t *cut = cut_after(begin, begin + least, end);
        result.push_back({begin, cut});
        begin = cut;
      }
    }
    return result;
  }

  // Each call of the body owns the shard where its range begins.
  void count_batch() {
    const auto work = segments();
    std::vector<std::exception_ptr> failures(kShards);
    host_.parallel_for(kShards, 1, [&](int64_t begin, int64_t end) {
      try {
        for (int64_t shard = begin; shard < end; ++shard) {
          for (size_t i = shard; i < work.size(); i += kShards) count(work[i], shards_[begin]);
        }
      } catch (...) {
        failures[begin] = std::current_exception();
      }
    });
    for (const auto &failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }
    batch_.clear();
    document_ends_.clear();
  }

  static void count(std::span<const uint8_t> text, WordCounts &counts) {
    const uint8_t *end = text.data() + text.size();
    for (const uint8_t *piece = text.data(); piece < end;) {
      const uint8_t *after = piece_end(piece, end);
      counts.add({reinterpret_cast<const char *>(piece), static_cast<size_t>(after - piece)});
      piece = after;
    }
  }

  const sdk::Host &host_;
  std::vector<WordCounts> shards_;
  std::vector<uint8_t> batch_;
  std::vector<size_t> document_ends_;  // in batch_
};

WordCounts count_words(const sdk::Host &host, const th_document_source &documents) {
  WordCounter counter(host);
  Watch watch(host, "counting words", documents.total_bytes);
  uint64_t done = 0;
  while (true) {
    th_bytes document{};
    sdk::check(documents.next(documents.context, &document), "the host failed to read the next document");
    if (document.data == nullptr) return counter.finish();
    counter.add(sdk::view(document));
    watch.see(done += document.length);
  }
}

// The words as symbols, and the pairs of neighbours in them.
class Corpus {
 public:
  Corpus(const WordCounts &counts, const std::array<uint32_t, 256> &byte_ids) {
    for (const auto &[text, count] : counts.sorted()) {
      words_.push_back({symbols_.size(), text.size(), static_cast<int64_t>(count)});
      for (const char byte : text) symbols_.push_back(byte_ids[static_cast<uint8_t>(byte)]);
    }
    for (uint32_t word = 0; word < words_.size(); ++word) {
      const uint32_t *symbols = symbols_.data() + words_[word].begin;
      for (size_t i = 0; i + 1 < words_[word].size; ++i) add(make_pair(symbols[i], symbols[i + 1]), word);
    }
    queue_new_pairs();
  }

  // The most frequent pair, of equals the smallest; nothing when none is left. It is not found again.
  struct Found {
    Pair pair;
    std::vector<uint32_t> words;  // where it occurs
  };
  std::optional<Found> most_frequent() {
    while (!queue_.empty()) {
      Candidate top = queue_.top();
      queue_.pop();
      const int64_t count = pairs_[top.pair].count;
      if (top.count == count) return Found{top.pair, std::move(word_lists_[top.words])};
      top.count = count;  // it has lost since it was queued
      if (count > 0) queue_.push(top);
    }
    return std::nullopt;
  }

  // Replaces the pair by `result`.
  void merge(const Found &found, uint32_t result) {
    for (const uint32_t word : found.words) merge_in(word, left_of(found.pair), right_of(found.pair), result);
    queue_new_pairs();
  }

 private:
  struct Word {
    size_t begin, size;  // in symbols_
    int64_t count;
  };
  struct PairState {
    int64_t count = 0;
    uint32_t words = kNoList;  // the list of the words in which it appeared since the last merge
  };
  struct Candidate {
    int64_t count;
    Pair pair;
    uint32_t words;
    bool operator<(const Candidate &other) const { return count != other.count ? count < other.count : pair > other.pair; }
  };
  static constexpr uint32_t kNoList = UINT32_MAX;

  void add(Pair pair, uint32_t word) {
    PairState &state = pairs_[pair];
    state.count += words_[word].count;
    if (state.words == kNoList) {
      state.words = static_cast<uint32_t>(word_lists_.size());
      word_lists_.emplace_back();
      new_pairs_.push_back(pair);
    }
    auto &list = word_lists_[state.words];
    if (list.empty() || list.back() != word) list.push_back(word);
  }
  void remove(Pair pair, uint32_t word) { pairs_[pair].count -= words_[word].count; }

  void merge_in(uint32_t index, uint32_t left, uint32_t right, uint32_t result) {
    Word &word = words_[index];
    uint32_t *symbols = symbols_.data() + word.begin;
    size_t size = 0;
    for (size_t i = 0; i < word.size; ++i) {
      if (i + 1 == word.size || symbols[i] != left || symbols[i + 1] != right) {
        symbols[size++] = symbols[i];
        continue;
      }
      if (size > 0) {
        remove(make_pair(symbols[size - 1], left), index);
        add(make_pair(symbols[size - 1], result), index);
      }
      if (i + 2 < word.size) {
        remove(make_pair(right, symbols[i + 2]), index);
        add(make_pair(result, symbols[i + 2]), index);
      }
      symbols[size++] = result;
      ++i;
    }
    word.size = size;
  }

  void queue_new_pairs() {
    for (const Pair pair : new_pairs_) {
      PairState &state = pairs_[pair];
      if (state.count > 0) queue_.push({state.count, pair, state.words});
      state.words = kNoList;
    }
    new_pairs_.clear();
  }

  std::vector<uint32_t> symbols_;
  std::vector<Word> words_;
  PairTable<PairState> pairs_;
  std::vector<Pair> new_pairs_;  // those with a list
  std::vector<std::vector<uint32_t>> word_lists_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

// Every merge makes a new token. Two pairs could only spell the same token if the same bytes had been cut in two ways; but a stretch of
// text whose ends no merge has crossed so far looks as if it stood alone, wherever it is, because each merge takes all places at once.
Vocabulary train(const sdk::Host &host, uint32_t vocabulary_size, const th_document_source &documents) {
  Vocabulary vocabulary = untrained_vocabulary();
  auto &tokens = vocabulary.tokens;
  Corpus corpus(count_words(host, documents), vocabulary.byte_ids);
  Watch watch(host, "learning merges", vocabulary_size);
  while (tokens.size() < vocabulary_size) {
    watch.see(tokens.size());
    const auto found = corpus.most_frequent();
    if (!found) break;
    const Merge merge{left_of(found->pair), right_of(found->pair), static_cast<uint32_t>(tokens.size())};
    corpus.merge(*found, merge.result);
    tokens.push_back({tokens[merge.left].bytes + tokens[merge.right].bytes, false});
    vocabulary.merges.push_back(merge);
  }
  return vocabulary;
}

}  // namespace trainhost::byte_bpe
