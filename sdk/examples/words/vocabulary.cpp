#include "vocabulary.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include <trainhost/cpp/plugin.hpp>

namespace {

using trainhost::sdk::Failure;

constexpr std::string_view kMagic = "words/1\n";
constexpr size_t kCountSize = 4, kHashSize = 8;

// All single bytes, one after the other: what the first 256 ids spell.
constexpr auto kBytes = [] {
  std::array<char, 256> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  return bytes;
}();

void append_little_endian(std::string &bytes, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(value >> 8 * i & 0xFF));
}

uint64_t little_endian(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{bytes[i]} << 8 * i;
  return value;
}

std::span<const uint8_t> bytes_of(std::string_view text) { return {reinterpret_cast<const uint8_t *>(text.data()), text.size()}; }

[[noreturn]] void refuse(const std::string &what) { throw Failure(TH_CORRUPT, "its state " + what + "; train the tokenizer again"); }

// The state between magic and hash, both of which have been found right.
std::span<const uint8_t> checked_body(std::span<const uint8_t> state) {
  const size_t least = kMagic.size() + kCountSize + kHashSize;
  if (state.size() < least) refuse("has " + std::to_string(state.size()) + " bytes, expected at least " + std::to_string(least));
  if (!std::ranges::equal(state.first(kMagic.size()), bytes_of(kMagic))) refuse("does not begin with \"words/1\"");
  const auto before_hash = state.first(state.size() - kHashSize);
  if (fnv1a(before_hash) != little_endian(state.last(kHashSize))) refuse("is damaged: its hash is not that of its bytes");
  return before_hash.subspan(kMagic.size());
}

}  // namespace

uint64_t fnv1a(std::span<const uint8_t> bytes, uint64_t hash) {
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001B3;
  return hash;
}

Vocabulary::Vocabulary(std::vector<std::string> words) : words_(std::move(words)), sorted_(words_.size()) {
  std::iota(sorted_.begin(), sorted_.end(), 0u);
  std::ranges::sort(sorted_, {}, [this](uint32_t index) -> const std::string & { return words_[index]; });
}

Vocabulary Vocabulary::from_state(std::span<const uint8_t> state) {
  if (state.empty()) return Vocabulary({});
  auto rest = checked_body(state);
  const uint64_t count = little_endian(rest.first(kCountSize));
  rest = rest.subspan(kCountSize);
  std::vector<std::string> words;
  while (!rest.empty()) {
    const size_t length = rest[0];
    const std::string number = "word " + std::to_string(words.size());
    if (length < 2 || length > kLongestWord) refuse("has a " + number + " of " + std::to_string(length) + " bytes");
    if (length >= rest.size()) refuse("ends within " + number);
    words.emplace_back(reinterpret_cast<const char *>(rest.data()) + 1, length);
    rest = rest.subspan(1 + length);
  }
  if (words.size() != count) refuse("has " + std::to_string(words.size()) + " words, but says " + std::to_string(count));
  Vocabulary vocabulary(std::move(words));
  const auto spelling = [&](uint32_t index) -> const std::string & { return vocabulary.words_[index]; };
  if (std::ranges::adjacent_find(vocabulary.sorted_, {}, spelling) != vocabulary.sorted_.end()) refuse("has a word twice");
  return vocabulary;
}

std::string Vocabulary::to_state() const {
  std::string state(kMagic);
  append_little_endian(state, words_.size(), kCountSize);
  for (const std::string &word : words_) {
    state.push_back(static_cast<char>(word.size()));
    state += word;
  }
  append_little_endian(state, fnv1a(bytes_of(state)), kHashSize);
  return state;
}

std::string_view Vocabulary::spelling(uint32_t id) const {
  if (id < kEnd) return {&kBytes[id], 1};
  return id == kEnd ? std::string_view() : words_[id - kFirstWord];
}

// Those words are left that begin as the text does, a byte more each time. The time is bounded by the longest word, not by the text.
Vocabulary::Match Vocabulary::longest_match(std::span<const uint8_t> text) const {
  Match match{text[0], 1};
  std::span<const uint32_t> left = sorted_;
  for (size_t depth = 0; depth < text.size() && !left.empty(); ++depth) {
    const auto byte = [this, depth](uint32_t index) {  // -1: the word has ended, and comes before its continuations
      return depth < words_[index].size() ? int{static_cast<uint8_t>(words_[index][depth])} : -1;
    };
    left = {std::ranges::lower_bound(left, int{text[depth]}, {}, byte), std::ranges::upper_bound(left, int{text[depth]}, {}, byte)};
    if (!left.empty() && words_[left.front()].size() == depth + 1) match = {kFirstWord + left.front(), depth + 1};
  }
  return match;
}
