// byte_bpe through the host. Its ids and merges are compared with Hugging Face tokenizers in byte_bpe_against_hugging_face.py.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "plugin_host/adapters/tokenizer.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

using nlohmann::json;

auto plugin(int64_t vocabulary_size = 400, const PluginEvents &events = {}) {
  return plugin_under_test(PluginKind::kTokenizer, "byte_bpe", {{"vocabulary_size", vocabulary_size}}, nullptr, events);
}

const std::vector<std::string> kDocuments = {
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness,",
    "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness,",
    "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？", "",
    "'^'^'^'^ \xff\xff\xff\xff <|endoftext|> 1234 5678\r\n\r\n"};

Result<std::string> train(const PluginInstance &instance, const std::vector<std::string> &documents) {
  size_t given = 0, bytes = 0;
  for (const auto &document : documents) bytes += document.size();
  const auto next = [&]() -> Result<std::optional<std::string_view>> {
    return given < documents.size() ? std::optional<std::string_view>(documents[given++]) : std::nullopt;
  };
  return Tokenizer::train(instance, next, bytes);
}

const std::string &state() {
  static const std::string trained = *train(*plugin(), kDocuments);
  return trained;
}

std::vector<uint32_t> encode(const Tokenizer &tokenizer, std::string_view text) {
  std::vector<uint32_t> ids;
  EXPECT_TRUE(tokenizer.encode(text, ids));
  return ids;
}

std::string random_bytes(std::mt19937 &random, size_t size) {
  std::string bytes(size, '\0');
  for (char &byte : bytes) byte = static_cast<char>(random() % 3 == 0 ? random() : kDocuments[random() % 3][random() % 100]);
  return bytes;
}

TEST(ByteBpeTest, GivesBackEveryText) {
  const auto tokenizer = *Tokenizer::create(plugin(), state());
  std::mt19937 random(1);
  for (size_t size = 0; size < 1000; ++size) {
    const std::string text = random_bytes(random, size);
    ASSERT_EQ(*tokenizer->decode(encode(*tokenizer, text)), text);
  }
  for (const auto &text :
       {std::string(100'000, 'a'), std::string(100'000, '\0'), std::string(100'000, ' '), random_bytes(random, 1'000'000)}) {
    ASSERT_EQ(*tokenizer->decode(encode(*tokenizer, text)), text);
  }
}

// Text in exactly sized memory, so that a sanitizer sees a read beyond it.
TEST(ByteBpeTest, ReadsNothingBeyondTheText) {
  const auto tokenizer = *Tokenizer::create(plugin(), state());
  const std::string text = "it was 学而时 ''s \xe5\xad";
  for (size_t size = 0; size <= text.size(); ++size) {
    const std::vector<char> exact(text.begin(), text.begin() + static_cast<ptrdiff_t>(size));
    const std::string_view part(exact.data(), size);
    EXPECT_EQ(*tokenizer->decode(encode(*tokenizer, part)), part);
  }
}

TEST(ByteBpeTest, TakesASpecialTokenInTheTextForText) {
  const auto tokenizer = *Tokenizer::create(plugin(), state());
  EXPECT_EQ(tokenizer->end_id(), 0u);
  const auto ids = encode(*tokenizer, "<|endoftext|>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 0u), 0);
  EXPECT_EQ(*tokenizer->decode(ids), "<|endoftext|>");
  EXPECT_EQ(*tokenizer->decode(std::vector<uint32_t>{0, ids[0], 0}), *tokenizer->decode(std::vector<uint32_t>{ids[0]}));
}

// A34: a model that has seen chats in a template of special tokens says none of them.
TEST(ByteBpeTest, DecodesTheTokensOfAChatTemplateToNothing) {
  json file = json::parse(state());
  for (const char *name : {"<|im_start|>", "<|im_end|>"}) {
    json token = file["added_tokens"][0];
    token["id"] = 400 + file["added_tokens"].size() - 1;
    token["content"] = name;
    file["added_tokens"].push_back(token);
  }
  const auto made = Tokenizer::create(plugin(402), file.dump());
  ASSERT_TRUE(made) << made.error().message;
  const auto &tokenizer = **made;
  const auto word = encode(tokenizer, "it");
  std::vector<uint32_t> ids{400};
  ids.insert(ids.end(), word.begin(), word.end());
  ids.push_back(401);
  EXPECT_EQ(*tokenizer.decode(ids), "it");
  for (const uint32_t id : encode(tokenizer, "<|im_start|>")) EXPECT_LT(id, 400u);
}

TEST(ByteBpeTest, TrainsTheSameStateAgain) {
  EXPECT_EQ(*train(*plugin(), kDocuments), state());
  EXPECT_EQ((*Tokenizer::create(plugin(), state()))->vocabulary_size(), 400u);
}

TEST(ByteBpeTest, StopsWhenTheTextHasNoMorePairs) {
  const auto trained = *train(*plugin(), {"abab"});
  EXPECT_EQ(json::parse(trained)["model"]["merges"], json::parse(R"([["a", "b"], ["ab", "ab"]])"));
  EXPECT_EQ((*Tokenizer::create(plugin(), trained))->vocabulary_size(), 259u);
  EXPECT_EQ((*Tokenizer::create(plugin(), *train(*plugin(), {})))->vocabulary_size(), 257u);
}

TEST(ByteBpeTest, ShowsHowFarTrainingIs) {
  std::map<std::string, std::pair<uint64_t, uint64_t>> shown;  // the last done and total
  const PluginEvents events{.metric = {}, .progress = [&](std::string_view what, uint64_t done, uint64_t total) {
                              EXPECT_LE(done, total);
                              shown[std::string(what)] = {done, total};
                            }};
  ASSERT_TRUE(train(*plugin(400, events), kDocuments));
  ASSERT_EQ(shown.size(), 2u);
  for (const auto &[what, last] : shown) EXPECT_EQ(last.first, last.second) << what;
}

TEST(ByteBpeTest, StopsTrainingWhenTheRunIsStopped) {
  const std::atomic<bool> cancelled = true;
  const auto stopped = train(*plugin(400, {.metric = {}, .progress = {}, .cancelled = &cancelled}), kDocuments);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::kStopped);
}

TEST(ByteBpeTest, PassesOnWhatTheDocumentsFailedWith) {
  const auto next = []() -> Result<std::optional<std::string_view>> { return failure(ErrorKind::kData, "corpus.txt: unreadable"); };
  const auto failed = Tokenizer::train(*plugin(), next, 1);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "corpus.txt: unreadable");
}

TEST(ByteBpeTest, FingerprintsWhatDeterminesTheIds) {
  const auto fingerprint = [](const json &file) { return (*Tokenizer::create(plugin(), file.dump()))->fingerprint(); };
  json file = json::parse(state());
  const std::string original = (*Tokenizer::create(plugin(), state()))->fingerprint();

  json same = file;
  same["post_processor"] = same["pre_tokenizer"];
  for (json &merge : same["model"]["merges"]) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  EXPECT_EQ(fingerprint(same), original);

  json other_order = file;
  std::swap(other_order["model"]["merges"][0], other_order["model"]["merges"][1]);
  EXPECT_NE(fingerprint(other_order), original);
  json other_ids = file;
  std::swap(other_ids["model"]["vocab"]["a"], other_ids["model"]["vocab"]["b"]);
  EXPECT_NE(fingerprint(other_ids), original);
}

// What create says to the state after `spoil`.
template <class Spoil>
std::string refusal(Spoil &&spoil) {
  json file = json::parse(state());
  spoil(file);
  const auto tokenizer = Tokenizer::create(plugin(), file.dump());
  if (tokenizer) return "accepted";
  const std::string &message = tokenizer.error().message;
  const size_t text = message.find("create: ");
  return text == std::string::npos ? message : message.substr(text + 8);
}

#define EXPECT_REFUSED(text, ...) EXPECT_EQ(refusal([](json &file) { __VA_ARGS__; }), text)

TEST(ByteBpeTest, RefusesFilesThatWouldGiveOtherIds) {
  EXPECT_REFUSED(R"(tokenizer.json: normalizer is {"type":"NFC"}, expected null)", file["normalizer"] = {{"type", "NFC"}});
  EXPECT_REFUSED(R"(tokenizer.json: truncation is {"max_length":8}, expected null)", file["truncation"] = {{"max_length", 8}});
  EXPECT_REFUSED("tokenizer.json: pre_tokenizer is null, expected ByteLevel with add_prefix_space false and use_regex true",
                 file["pre_tokenizer"] = nullptr);
  EXPECT_REFUSED(R"(tokenizer.json: pre_tokenizer is {"add_prefix_space":true,"type":"ByteLevel"}, )"
                 "expected ByteLevel with add_prefix_space false and use_regex true",
                 file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}});
  EXPECT_REFUSED(R"(tokenizer.json: pre_tokenizer is {"add_prefix_space":false,"trim_offsets":true,"type":"ByteLevel","use_regex":false}, )"
                 "expected ByteLevel with add_prefix_space false and use_regex true",
                 file["pre_tokenizer"]["use_regex"] = false);
  EXPECT_REFUSED(R"(tokenizer.json: post_processor is {"type":"TemplateProcessing"}, expected null or ByteLevel)",
                 file["post_processor"] = {{"type", "TemplateProcessing"}});
  EXPECT_REFUSED("tokenizer.json: normalizer is \"" + std::string(98, 'x') + "..., expected null",
                 file["normalizer"] = std::string(98, 'x') + "ж");
  EXPECT_REFUSED(R"(tokenizer.json: decoder is {"type":"WordPiece"}, expected ByteLevel)", file["decoder"] = {{"type", "WordPiece"}});
  EXPECT_REFUSED(R"(tokenizer.json: model is {"type":"Unigram"}, expected type BPE)", file["model"] = {{"type", "Unigram"}});
  EXPECT_REFUSED("tokenizer.json: model.ignore_merges is true, expected false", file["model"]["ignore_merges"] = true);
  EXPECT_REFUSED("tokenizer.json: model.dropout is 0.1, expected null", file["model"]["dropout"] = 0.1);
  EXPECT_REFUSED(R"(tokenizer.json: model.end_of_word_suffix is "</w>", expected null)", file["model"]["end_of_word_suffix"] = "</w>");
  EXPECT_REFUSED(R"(tokenizer.json: added token "<|endoftext|>" is not special)", file["added_tokens"][0]["special"] = false);
}

TEST(ByteBpeTest, RefusesDamagedFiles) {
  EXPECT_REFUSED("tokenizer.json: found [], expected an object", file = json::array());
  EXPECT_REFUSED(R"(tokenizer.json: version is "2.0", expected "1.0")", file["version"] = "2.0");
  EXPECT_REFUSED("tokenizer.json: model.vocab is null, expected an object", file["model"].erase("vocab"));
  EXPECT_REFUSED(R"(tokenizer.json: model.merges is "a b", expected an array)", file["model"]["merges"] = "a b");
  EXPECT_REFUSED("tokenizer.json: added_tokens is 1, expected an array", file["added_tokens"] = 1);
  EXPECT_REFUSED("tokenizer.json: added token 1 has no content", file["added_tokens"][0] = 1);
  EXPECT_REFUSED(R"(tokenizer.json: added token "<|endoftext|>" has id 7 and elsewhere 0)", file["added_tokens"][0]["id"] = 7);
  EXPECT_REFUSED(R"(tokenizer.json: token "a" has id 400, expected 0 to 399, each once)", file["model"]["vocab"]["a"] = 400);
  EXPECT_REFUSED(R"(tokenizer.json: token "a" has id -1, expected 0 to 399, each once)", file["model"]["vocab"]["a"] = -1);
  EXPECT_REFUSED(R"(tokenizer.json: token "a" has id "x", expected 0 to 399, each once)", file["model"]["vocab"]["a"] = "x");
  EXPECT_REFUSED("tokenizer.json: two tokens have id 1", file["model"]["vocab"]["a"] = 1);
  EXPECT_REFUSED(R"(tokenizer.json: token "a b" is not spelt in the byte-level alphabet)", file["model"]["vocab"]["a b"] = 400);
  EXPECT_REFUSED(R"(tokenizer.json: token "" is not spelt in the byte-level alphabet)", file["model"]["vocab"][""] = 400);
  EXPECT_REFUSED(R"(tokenizer.json: no token for byte 0 (spelt "Ā"); expected one for each of the 256 bytes)",
                 file["model"]["vocab"]["xyzzy"] = file["model"]["vocab"]["Ā"];
                 file["model"]["vocab"].erase("Ā"));
}

TEST(ByteBpeTest, RefusesDamagedMerges) {
  EXPECT_REFUSED(R"(tokenizer.json: model.merges[3] is "a b c", expected two tokens)", file["model"]["merges"][3] = "a b c");
  EXPECT_REFUSED(R"(tokenizer.json: model.merges[3] is ["a"], expected two tokens)", file["model"]["merges"][3] = json::array({"a"}));
  EXPECT_REFUSED(R"(tokenizer.json: model.merges[3] ["Ġ","t"] is there twice)", file["model"]["merges"][3] = file["model"]["merges"][1]);
  EXPECT_REFUSED(R"(tokenizer.json: model.merges[3] ["Q","Q"]: "QQ" is not in model.vocab)", file["model"]["merges"][3] = json({"Q", "Q"}));
  EXPECT_REFUSED(R"(tokenizer.json: model.merges[3] ["","a"]: "" is not in model.vocab)", file["model"]["merges"][3] = json({"", "a"}));
  EXPECT_REFUSED(R"(tokenizer.json: model.merges[3] ["<|endoftext|>","a"]: "<|endoftext|>" is a special token)",
                 file["model"]["merges"][3] = json({"<|endoftext|>", "a"}));
}

TEST(ByteBpeTest, SaysWhatIsWrongWithTheState) {
  const auto message = [](const auto &plugin_and_state) { return plugin_and_state ? std::string() : plugin_and_state.error().message; };
  EXPECT_NE(message(Tokenizer::create(plugin(), "")).find("the tokenizer has no state: train it first, or give it a tokenizer.json"),
            std::string::npos);
  EXPECT_NE(message(Tokenizer::create(plugin(), "{\"version\": }")).find("tokenizer.json: not valid JSON at byte 13"), std::string::npos);
  EXPECT_NE(message(Tokenizer::create(plugin(399), state()))
                .find("tokenizer.json has 400 tokens, expected at most vocabulary_size = 399: raise vocabulary_size, or train again"),
            std::string::npos);
  const auto beyond = (*Tokenizer::create(plugin(), state()))->decode(std::vector<uint32_t>{400});
  EXPECT_NE(message(beyond).find("id 400 is not in the vocabulary: expected 0 to 399"), std::string::npos);
}

TEST(ByteBpeTest, SurvivesFlippedBytesInTheState) {
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    std::string damaged = state();
    for (int change = 0; change < 3; ++change) damaged[random() % damaged.size()] = static_cast<char>(random());
    const auto tokenizer = Tokenizer::create(plugin(), damaged);
    if (!tokenizer) continue;
    EXPECT_EQ(*(*tokenizer)->decode(encode(**tokenizer, kDocuments[0])), kDocuments[0]);
  }
}

}  // namespace
}  // namespace trainhost
