// Damaged recipes: whatever the bytes, the reader ends soon, with a recipe that reads back or with at least one placed error.
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>
#include <utility>

#include <gtest/gtest.h>

#include "recipe/reader.h"

namespace trainhost {
namespace {

std::string repeated(const std::string &text, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += text;
  return all;
}

const std::string kSeed = R"(include = []
[run]
tokens = "1.5M tokens"
seed = 42
[[source]]
name = "english"
paths = ["data/*.md", '${HOME}/x']
held_out = "1%"
[[source]]
name = "questions"
paths = ["data/*.jsonl"]
format = "chat"
loss_on = "answers"
[model]
plugin = "./libmodel.so"
scale = 12.5
tied = true
[[phase]]
name = "stable"
until = "90%"
mix = { english = 0.7, questions = 0.3 }
batch = "8Ki tokens"
[[phase]]
name = "annealing"
mix = [{ parameters = "9.4M", shares = { english = 1 } }, { parameters = 500000000, shares = { english = 0.5, questions = 0.5 } }]
optimizer.beta2 = 0.99
[checkpoint]
always_keep = ["end of stable"]
[sampling]
prompts = ["""multi
line""", "我们"]
[[branch]]
name = "linear"
from = "end of stable"
schedule.shape = "linear"
)";

class Fuzz : public testing::Test {
 protected:
  ~Fuzz() override { std::filesystem::remove(file_); }

  size_t below(size_t limit) { return random_() % limit; }

  std::string token() {
    static const std::vector<std::string> kTokens{"[",
                                                  "]",
                                                  "[[",
                                                  "]]",
                                                  "{",
                                                  "}",
                                                  "=",
                                                  ".",
                                                  "\"",
                                                  "'",
                                                  "\"\"\"",
                                                  "#",
                                                  "\n",
                                                  ",",
                                                  "nan",
                                                  "-inf",
                                                  "1e400",
                                                  "-1",
                                                  "0x",
                                                  "99999999999999999999",
                                                  "name",
                                                  "phase",
                                                  "run",
                                                  "true",
                                                  "\\u0000",
                                                  "\xff",
                                                  "\xef\xbb\xbf",
                                                  "1979-05-27",
                                                  "include = [\"/\"]\n",
                                                  "9223372036854775807",
                                                  "..",
                                                  "\"90%\"",
                                                  "${",
                                                  "until",
                                                  "source",
                                                  "batch = 3\n",
                                                  "[run]\n",
                                                  "[[phase]]\n"};
    return kTokens[below(kTokens.size())];
  }

  // Takes a line out, or puts a copy of it elsewhere: still TOML more often than not.
  void edit_line(std::string &text) {
    const size_t start = text.rfind('\n', below(text.size())) + 1, end = text.find('\n', start);
    if (end == std::string::npos) return;
    const std::string line = text.substr(start, end + 1 - start);
    text.erase(start, line.size());
    if (below(2) == 0 && !text.empty()) text.insert(text.rfind('\n', below(text.size())) + 1, line);
  }

  std::string mutant() {
    std::string text = kSeed;
    for (size_t edits = 1 + below(3); edits > 0 && !text.empty(); --edits) {
      const size_t at = below(text.size()), length = below(std::min<size_t>(text.size() - at, 40) + 1);
      switch (below(8)) {
        case 0:
          text[at] = static_cast<char>(random_());
          break;
        case 1:
          text.erase(at, length);
          break;
        case 2:
          text.insert(below(text.size()), text.substr(at, length));
          break;
        case 3:
          text.insert(at, token());
          break;
        case 4:
          text.replace(at, length, token());
          break;
        default:
          edit_line(text);
      }
    }
    return text;
  }

  void write(const std::string &text) {
    std::filesystem::remove(file_);  // file systems flush a file that is truncated and written again: a thousand times slower
    std::ofstream(file_, std::ios::binary) << text;
  }

  struct TimedRead {
    decltype(read_recipe("", {})) recipe;
    double seconds;  // of the processor: the machine may be busy
  };
  TimedRead timed_read(const std::string &text, const std::vector<std::string> &settings) {
    write(text);
    const std::clock_t started = std::clock();
    auto recipe = read_recipe(file_, settings);
    return {std::move(recipe), static_cast<double>(std::clock() - started) / CLOCKS_PER_SEC};
  }

  // "Soon" is a small multiple of what a harmless file of nearly the largest size takes on the same machine.
  void read(const std::string &text, const std::vector<std::string> &settings = {}) {
    static const double soon = 3 * timed_read("[[source]]\nname='a'\npaths=[" + repeated("'a',", 250'000) + "]\n", {}).seconds;
    const auto [recipe, seconds] = timed_read(text, settings);
    EXPECT_LT(seconds, soon) << text.substr(0, 200);
    if (recipe) {
      write(resolved_toml(*recipe));
      const auto again = read_recipe(file_, {});
      EXPECT_TRUE(again) << text << "\n=>\n" << resolved_toml(*recipe) << "\n" << (again ? "" : to_string(again.error()[0]));
      ++sound_;
      return;
    }
    ASSERT_FALSE(recipe.error().empty());
    for (const RecipeError &error : recipe.error()) {
      const bool placed = error.position.line > 0 && error.position.column > 0;
      EXPECT_TRUE(placed || error.position.file.starts_with("--set ")) << to_string(error) << "\n" << text;
    }
  }

  std::mt19937_64 random_{20240607};
  std::string file_ = (std::filesystem::temp_directory_path() / ("trainhost_fuzz_" + std::to_string(getpid()) + ".toml")).string();
  size_t sound_ = 0;
};

TEST_F(Fuzz, MutatedRecipes) {
  constexpr size_t kRuns = 3000;
  for (size_t run = 0; run < kRuns && !HasFailure(); ++run) read(mutant());

  EXPECT_GT(sound_, kRuns / 50);  // the mutations do not all die in the parser
  EXPECT_LT(sound_, kRuns / 2);
}

TEST_F(Fuzz, RandomBytes) {
  for (size_t run = 0; run < 500 && !HasFailure(); ++run) {
    std::string text(below(300), '\0');
    for (char &byte : text) byte = static_cast<char>(random_());
    read(text);
  }
}

TEST_F(Fuzz, MutatedSettings) {
  for (size_t run = 0; run < 1000 && !HasFailure(); ++run) {
    std::string setting = "phase.stable.mix.english=0.5";
    for (size_t edits = 1 + below(4); edits > 0; --edits) setting.insert(below(setting.size() + 1), token());
    read(kSeed, {setting});
  }
}

// Files that are made to exhaust the stack or the clock, each near the largest size that is read.
TEST_F(Fuzz, HostileRecipes) {
  read("a" + repeated(".a", 4096) + " = 1");
  read("a" + repeated(".a", 500'000) + " = 1");
  read("a=\"\"\"x\"\"\"\"\na" + repeated(".a", 500'000) + " = 1");
  read("a='''x'''''\na" + repeated(".a", 500'000) + " = 1\nb='");
  read("[a" + repeated(".a", 500'000) + "]");
  read("a = " + repeated("[", 1'000'000));
  read("a = " + repeated("{a=", 300'000));
  read(repeated("[[source]]\n", 90'000));
  read(repeated("[[phase]]\n", 100'000));
  std::string sources, mix, keys;
  for (size_t i = 0; i < 250; ++i) sources += "[[source]]\nname='s" + std::to_string(i) + "'\npaths=['a']\n";
  for (size_t i = 0; i < 80'000; ++i) {
    mix += "x" + std::to_string(i) + "=1,";
    keys += "x" + std::to_string(i) + "=1\n";
  }
  read(sources + "[[phase]]\nname='a'\nmix={" + mix + "x=1}\n");
  read(sources + "[checkpoint]\nalways_keep=[" + repeated("'end of b',", 80'000) + "]\n");
  read(sources + "[evaluation]\nsources=[" + repeated("'s1x',", 150'000) + "]\n");
  read(keys);
  read("[run]\n" + keys + "[" + std::string(300'000, 'r') + "]\n");
}

}  // namespace
}  // namespace trainhost
