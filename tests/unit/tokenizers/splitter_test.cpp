// The splitter against PCRE2, which reads the pattern itself.
#include "splitter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <gtest/gtest.h>
#include <pcre2.h>

#include <random>
#include <string>
#include <vector>

namespace trainhost::byte_bpe {
namespace {

constexpr const char *kPattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class Pattern {
 public:
  Pattern() {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(kPattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  ~Pattern() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }
  Pattern(const Pattern &) = delete;
  Pattern &operator=(const Pattern &) = delete;

  // The ends of the pieces of valid UTF-8.
  std::vector<size_t> ends(const std::string &text) {
    std::vector<size_t> result;
    for (size_t begin = 0; begin < text.size(); begin = result.back()) {
      EXPECT_GT(match(text, begin), 0);
      EXPECT_EQ(pcre2_get_ovector_pointer(match_)[0], begin);
      result.push_back(pcre2_get_ovector_pointer(match_)[1]);
    }
    return result;
  }
  // Where the first character that is not valid UTF-8 begins, or the size of the text.
  size_t first_invalid(const std::string &text) { return match(text, 0) < PCRE2_ERROR_PARTIAL ? pcre2_get_startchar(match_) : text.size(); }

 private:
  int match(const std::string &text, size_t begin) {
    return pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), begin, 0, match_, nullptr);
  }
  pcre2_code *code_;
  pcre2_match_data *match_;
};

std::vector<size_t> ends_of(const std::string &text) {
  const auto *begin = reinterpret_cast<const uint8_t *>(text.data());
  const auto *end = begin + text.size();
  std::vector<size_t> result;
  for (const uint8_t *piece = begin; piece < end;) {
    piece = piece_end(piece, end);
    result.push_back(piece - begin);
  }
  return result;
}

// Characters at the edges of the pattern: contractions, spaces of all sorts, letters, digits and marks of many scripts, emoji. U+180E is
// missing because PCRE2, unlike Unicode and the reference tokenizer, takes it for white space.
const std::vector<std::string> kCharacters = {
    " ",      " ",      " ",      "'",      "'",          "\n",     "\r",     "\t",     "\v",     "\x1c",   "\x85",   "s",      "t",
    "r",      "e",      "v",      "m",      "l",          "d",      "S",      "a",      "Z",      "0",      "9",      "!",      "-",
    "_",      "é",      "ß",      "ж",      "中",         "文",     "。",     "あ",     "한",     "ا",      "ש",      "क",      "्",
    "ि",      "ก",      "้",       "٣",      "४",          "Ⅷ",      "²",      "½",      "〇",     "𝟙",      "\u0301", "\u200d", "\ufe0f",
    "👍",      "🏽",   "👩",      "❤",      "€",          "\u0085", "\u00a0", "\u1680", "\u2003", "\u2028", "\u2029", "\u202f", "\u205f",
    "\u3000", "\u200b", "\ufeff", "\ue000", "\U0010ffff", "ǅ",      "ʰ",      "ª",      "𐐷",      "𠀀"};

std::string random_text(std::mt19937 &random, const std::vector<std::string> &characters) {
  std::string text;
  const size_t size = random() % 24;
  for (size_t i = 0; i < size; ++i) text += characters[random() % characters.size()];
  return text;
}

std::vector<std::string> valid_characters() {
  std::vector<std::string> valid = kCharacters;
  std::erase(valid, "\x85");
  return valid;
}

TEST(SplitterTest, SplitsAsThePatternDoes) {
  Pattern pattern;
  std::mt19937 random(1);
  const auto characters = valid_characters();
  for (int i = 0; i < 100'000; ++i) {
    const std::string text = random_text(random, characters);
    ASSERT_EQ(ends_of(text), pattern.ends(text)) << text;
  }
}

// Each byte that PCRE2 finds invalid splits as U+FFFD would in its place.
TEST(SplitterTest, TakesInvalidBytesForSymbols) {
  Pattern pattern;
  std::mt19937 random(2);
  std::vector<std::string> characters = kCharacters;
  for (const char *bytes : {"\xff", "\x80", "\xbf", "\xc0", "\xc1", "\xc3", "\xe0", "\xed", "\xe4\xb8", "\xf0", "\xf4", "\xf0\x9f\x91",
                            "\xf5", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    characters.insert(characters.end(), 3, bytes);
  }
  for (int i = 0; i < 100'000; ++i) {
    const std::string text = random_text(random, characters);
    std::string valid = text;
    std::vector<size_t> replaced;  // ends of the replacements in `valid`
    for (size_t at = pattern.first_invalid(valid); at < valid.size(); at = pattern.first_invalid(valid)) {
      valid.replace(at, 1, "\ufffd");
      replaced.push_back(at + 3);
    }
    std::vector<size_t> expected = pattern.ends(valid);
    for (size_t &end : expected) end -= 2 * std::count_if(replaced.begin(), replaced.end(), [&](size_t at) { return at <= end; });
    ASSERT_EQ(ends_of(text), expected) << testing::PrintToString(text);
  }
}

TEST(SplitterTest, CutsWhereThePatternCannotTell) {
  std::mt19937 random(3);
  for (int i = 0; i < 100'000; ++i) {
    const std::string text = random_text(random, kCharacters) + random_text(random, kCharacters);
    const auto *begin = reinterpret_cast<const uint8_t *>(text.data());
    const size_t from = text.empty() ? 0 : random() % text.size();
    const size_t cut = cut_after(begin, begin + from, begin + text.size()) - begin;
    ASSERT_GE(cut, from);
    auto ends = ends_of(text.substr(0, cut));
    for (const size_t end : ends_of(text.substr(cut))) ends.push_back(cut + end);
    ASSERT_EQ(ends, ends_of(text)) << text;
  }
}

}  // namespace
}  // namespace trainhost::byte_bpe
