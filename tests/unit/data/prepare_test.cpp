#include "data/prepare.h"

#include <atomic>
#include <cstdlib>
#include <thread>

#include <gtest/gtest.h>
#include <omp.h>
#include <nlohmann/json.hpp>

#include "data/packing.h"
#include "store_under_test.h"
#include "temporary_folder.h"

namespace trainhost {
namespace {

std::string sentences(int count, const std::string &about) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text +=
        "The " + about + " number " + std::to_string(i * 7919 % 100003) + " is near the old " + about + ".\n" + (i % 5 == 4 ? "\n" : "");
  }
  return text;
}

std::string questions(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    lines += "{\"prompt\": \"What comes after " + std::to_string(i) + "?\", \"completion\": \"" + std::to_string(i + 1) + "\"}\n";
  }
  return lines;
}

// Three sources in a folder of their own, with a cache of their own.
class Prepare : public testing::Test {
 protected:
  Prepare() {
    recipe.run.directory = folder.path() + "/runs/one";
    recipe.packing.sequence_length = 64;
    recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
    add_source("houses", "houses.txt", sentences(2000, "house"));
    add_source("rivers", "rivers.md", "---\ntitle: rivers\n---\n" + sentences(300, "river"));
    add_source("questions", "questions.jsonl", questions(80)).loss_on = "answers";
    events.progress = [this](std::string_view what, uint64_t done, uint64_t total) {
      ++progress_calls;
      EXPECT_LE(done, total) << what;
    };
    events.cancelled = &cancelled;
  }

  Source &add_source(const std::string &name, const std::string &file, const std::string &text) {
    Source source;
    source.name = name;
    source.paths = {folder.write("data/" + file, text)};
    recipe.sources.push_back(source);
    return recipe.sources.back();
  }

  Result<PreparedData> prepare(const std::string &tokenizer = "byte") {
    const Manifest manifest = read_manifest(TRAINHOST_BINARY_DIR "/plugins/" + tokenizer + ".so").value();
    recipe.tokenizer.plugin = tokenizer;
    if (tokenizer == "byte_bpe") recipe.tokenizer.parameters["vocabulary_size"] = {int64_t{300}, true, {}};
    EXPECT_TRUE(check_parameters(manifest, recipe.tokenizer.parameters, {}).empty());
    return prepare_data(recipe, manifest, events);
  }
  std::string refusal(const std::string &tokenizer = "byte") {
    const auto data = prepare(tokenizer);
    if (data) return "prepared";
    EXPECT_EQ(data.error().kind, ErrorKind::kData);
    return data.error().message;
  }
  std::string data_path(const std::string &file) const { return folder.path() + "/data/" + file; }

  // All files of the cache with their contents, without locks and the index of file hashes.
  std::map<std::string, std::string> cached() const {
    std::map<std::string, std::string> files;
    for (const char *kind : {"tokenizers", "stores"}) {
      const std::string root = folder.path() + "/runs/.cache/" + kind;
      if (!std::filesystem::exists(root)) continue;
      for (const auto &entry : std::filesystem::recursive_directory_iterator(root)) {
        if (entry.is_regular_file()) files[entry.path().string()] = contents_of(entry.path().string());
      }
    }
    return files;
  }

  TemporaryFolder folder;
  Recipe recipe;
  PluginEvents events;
  std::atomic<bool> cancelled = false;
  int progress_calls = 0;
};

std::string text_of(const Tokenizer &tokenizer, const TokenStore &store, uint64_t document) {
  std::vector<uint32_t> ids;
  for (uint64_t i = store.document_begin(document); i < store.document_end(document); ++i) ids.push_back(store.token(i));
  return tokenizer.decode(ids).value();
}

TEST_F(Prepare, KeepsEveryByteOfTheTextOnOneSideOrTheOther) {
  for (const char *tokenizer : {"byte", "byte_bpe"}) {
    const auto data = prepare(tokenizer);
    ASSERT_TRUE(data) << data.error().message;
    ASSERT_EQ(data->sources.size(), 3u);
    const PreparedSource &houses = data->sources[0];
    EXPECT_EQ(houses.name, "houses");
    EXPECT_GE(houses.held_out->documents(), 1u);
    std::string text;
    for (uint64_t i = 0; i < houses.training->documents(); ++i) text += text_of(*data->tokenizer, *houses.training, i);
    for (uint64_t i = 0; i < houses.held_out->documents(); ++i) {
      const std::string part = text_of(*data->tokenizer, *houses.held_out, i);
      EXPECT_NE(contents_of(data_path("houses.txt")).find(part), std::string::npos);
      EXPECT_EQ(text.find(part), std::string::npos);
      text += part;
    }
    EXPECT_EQ(text.size(), contents_of(data_path("houses.txt")).size());
    EXPECT_EQ(houses.training->bytes_of_text() + houses.held_out->bytes_of_text(), text.size());
    const TokenStore &store = *houses.training;
    EXPECT_EQ(store.token(store.tokens() - 1), *data->tokenizer->end_id());
  }
}

TEST_F(Prepare, CountsAnswersAndTheirEndsOnly) {
  const auto data = prepare();
  ASSERT_TRUE(data) << data.error().message;
  const TokenStore &store = *data->sources[2].training;
  const std::string text = text_of(*data->tokenizer, store, 0);
  ASSERT_TRUE(text.starts_with("User: What comes after ")) << text;
  const size_t answer = text.find("Assistant:") + 10;
  for (uint64_t i = 0; i < store.document_end(0); ++i) EXPECT_EQ(store.counts(i), i >= answer) << i;
  EXPECT_TRUE(data->sources[0].training->counts(0));
}

// A34: over an epoch the loss counts the tokens of the answers with their line ends, and one end token a document, and nothing else. The
// byte tokenizer's tokens are the bytes.
TEST_F(Prepare, CountsAsManyTokensAsTheAnswersHave) {
  const auto data = prepare();
  ASSERT_TRUE(data) << data.error().message;
  const TokenStore &store = *data->sources[2].training;
  uint64_t expected = 0;
  for (uint64_t document = 0; document < store.documents(); ++document) {
    const std::string text = text_of(*data->tokenizer, store, document);
    expected += text.size() - (text.find("Assistant:") + 10) + 1;
  }
  double counted = 0;
  const Packing packing(store, Packing::Mode::kBestFit, 64);
  for (uint64_t window = 0; window < packing.windows(); ++window) {
    TokenBatch batch = empty_batch(64);
    ASSERT_TRUE(packing.append(window, {}, {2, 0, window}, batch));
    counted += batch.weight();
  }
  EXPECT_EQ(counted, static_cast<double>(expected));
}

TEST_F(Prepare, WarnsOfControlTokensOfAChatTemplate) {  // A34
  add_source("web", "web.jsonl",
             "{\"text\": \"" + std::string(300, 'x') + "<|im_start|>user\"}\n{\"text\": \"" + std::string(300, 'y') + "\"}\n{\"text\": \"" +
                 std::string(300, 'z') + "\"}\n");
  testing::internal::CaptureStderr();
  const auto data = prepare();
  const std::string said = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_NE(said.find("source \"web\": 1 of 3 documents hold control tokens of a chat template, as \"<|im_start|>\""), std::string::npos)
      << said;
  EXPECT_EQ(said.find("\"questions\": "), std::string::npos) << said;
  EXPECT_EQ(nlohmann::json::parse(contents_of(data->sources[3].training->path() + ".json"))["documents_with_chat_tokens"], 1);
}

TEST_F(Prepare, DoesNothingTwice) {
  const auto first = prepare("byte_bpe");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_GT(progress_calls, 0);
  const auto files = cached();
  progress_calls = 0;
  const auto second = prepare("byte_bpe");
  ASSERT_TRUE(second);
  EXPECT_EQ(progress_calls, 0);
  EXPECT_EQ(cached(), files);
  EXPECT_EQ(second->fingerprint, first->fingerprint);
  EXPECT_EQ(second->tokenizer_state, first->tokenizer_state);
  EXPECT_FALSE(first->tokenizer_state.empty());
}

TEST_F(Prepare, WritesTheSameBytesOnAnyNumberOfThreads) {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto alone = prepare("byte_bpe");
  const auto files = cached();
  std::filesystem::remove_all(folder.path() + "/runs");
  omp_set_num_threads(5);
  const auto together = prepare("byte_bpe");
  omp_set_num_threads(threads);
  ASSERT_TRUE(alone && together);
  EXPECT_EQ(cached(), files);
  EXPECT_GE(files.size(), 20u);
}

TEST_F(Prepare, MakesAnewOnlyWhatAChangeTouches) {
  const auto first = prepare();
  ASSERT_TRUE(first);
  const auto before = cached();
  folder.write("data/rivers.md", sentences(301, "river"));
  const auto second = prepare();
  ASSERT_TRUE(second);
  EXPECT_NE(second->fingerprint, first->fingerprint);
  EXPECT_EQ(second->sources[0].training->path(), first->sources[0].training->path());
  EXPECT_NE(second->sources[1].training->path(), first->sources[1].training->path());
  recipe.sources[0].held_out = 0.2;
  EXPECT_NE(prepare()->sources[0].training->path(), first->sources[0].training->path());
  recipe.sources[0].licence = "anything";  // says nothing about tokens
  recipe.sources[0].held_out = 0.01;
  EXPECT_EQ(prepare()->fingerprint, second->fingerprint);
}

TEST_F(Prepare, DescribesTheStoreInItsSidecar) {
  recipe.sources[1].licence = "CC0-1.0";
  folder.write("data/rivers.md", "\xff\n" + sentences(300, "river"));
  const auto data = prepare();
  ASSERT_TRUE(data);
  const auto sidecar = nlohmann::json::parse(contents_of(data->sources[1].training->path() + ".json"));
  EXPECT_EQ(sidecar["source"]["licence"], "CC0-1.0");
  EXPECT_EQ(sidecar["inputs"][0]["path"], data_path("rivers.md"));
  EXPECT_EQ(sidecar["inputs"][0]["sha256"], sha256(contents_of(data_path("rivers.md"))));
  EXPECT_EQ(sidecar["inputs"][0]["bytes"], contents_of(data_path("rivers.md")).size());
  EXPECT_EQ(sidecar["tokenizer"]["id"], "org.trainhost.byte");
  EXPECT_EQ(sidecar["tokenizer"]["fingerprint"], data->tokenizer->fingerprint());
  EXPECT_EQ(sidecar["skipped"], "1 line of invalid UTF-8");
  EXPECT_EQ(sidecar["tokens"], data->sources[1].training->tokens());
}

TEST_F(Prepare, StopsWhenCancelledAndLeavesNoHalfStore) {
  events.progress = [this](std::string_view what, uint64_t, uint64_t) { cancelled = cancelled || what == "tokenizing rivers"; };
  cancelled = false;
  const auto stopped = prepare();
  // The first source is whole, the second was stopped after its only batch or before the third began.
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::kStopped);
  cancelled = false;
  for (const auto &[path, contents] : cached()) EXPECT_EQ(path.find(".partial"), std::string::npos) << path;
  events.progress = nullptr;
  EXPECT_TRUE(prepare());
}

TEST_F(Prepare, LetsTwoProcessesPrepareTheSameData) {
  std::vector<std::string> fingerprints(3);
  const Manifest manifest = read_manifest(TRAINHOST_BINARY_DIR "/plugins/byte.so").value();
  recipe.tokenizer.plugin = "byte";
  std::vector<std::thread> threads;
  for (std::string &fingerprint : fingerprints) {
    threads.emplace_back([&] {
      const auto data = prepare_data(recipe, manifest, {});
      fingerprint = data ? data->fingerprint : data.error().message;
    });
  }
  for (std::thread &thread : threads) thread.join();
  EXPECT_EQ(fingerprints[0], prepare()->fingerprint);
  EXPECT_EQ(fingerprints[0], fingerprints[1]);
  EXPECT_EQ(fingerprints[0], fingerprints[2]);
}

TEST_F(Prepare, NamesADamagedStoreAndTheWayOut) {
  const std::string path = prepare()->sources[0].training->path();
  std::filesystem::resize_file(path + ".bin", 10);
  const std::string entry = std::filesystem::path(path).parent_path().string(), message = refusal();
  EXPECT_TRUE(message.starts_with(path + ".bin: has 10 bytes; its index says ")) << message;
  EXPECT_TRUE(message.ends_with("; remove " + entry + " to have it prepared again")) << message;
  std::filesystem::remove_all(entry);
  EXPECT_EQ(refusal(), "prepared");
}

TEST_F(Prepare, RefusesBadInputByPolicy) {
  folder.write("data/houses.txt", "good\nbad \xff\n" + sentences(200, "house"));
  EXPECT_EQ(refusal(), "prepared");
  recipe.sources[0].on_bad_input = "refuse";
  EXPECT_EQ(refusal(), data_path("houses.txt") +
                           ":2: is not valid UTF-8; source \"houses\" refuses bad input: mend the file, or set on_bad_input = \"skip\"");
}

TEST_F(Prepare, RefusesSourcesThatAreTooSmall) {
  folder.write("data/houses.txt", "A house.\n");
  EXPECT_EQ(refusal(),
            "source \"houses\": has 10 tokens to train on, less than one window of 64 and its last target; give it more text or a shorter "
            "sequence_length");
  folder.write("data/houses.txt", "\n");
  EXPECT_EQ(refusal(), "source \"houses\": holds no text to train on");
  std::filesystem::remove(data_path("houses.txt"));
  EXPECT_EQ(refusal(), "source \"houses\": no file matches \"" + data_path("houses.txt") + "\"");
}

TEST_F(Prepare, ReadsAnExistingStoreAsItIs) {
  const std::string prefix = folder.path() + "/data/store";
  Documents documents(50, std::vector<uint32_t>(100, 7));
  documents.back() = {9, 9};
  write_store(prefix, documents, 257);
  recipe.sources.front().format = "tokens";
  recipe.sources.front().paths = {prefix + ".idx"};
  recipe.sources.front().held_out = 0.02;
  const auto data = prepare();
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(data->sources[0].training->documents(), 48u);
  EXPECT_EQ(data->sources[0].held_out->documents(), 2u);
  EXPECT_EQ(data->sources[0].held_out->token(100), 9u);
  documents.back() = {8, 8};
  write_store(prefix, documents, 257);
  EXPECT_NE(prepare()->fingerprint, data->fingerprint);
  documents.back() = {300};
  write_store(prefix, documents, 400);
  EXPECT_EQ(refusal(),
            prefix + ".bin: token 4900 (in document 49) is 300; the tokenizer has ids 0 to 256: it is not the one the store was made with");
}

TEST_F(Prepare, NeedsTextToTrainATokenizerOn) {
  write_store(folder.path() + "/data/store", Documents(5, std::vector<uint32_t>(100, 7)), 257);
  recipe.sources.resize(1);
  recipe.sources.front().format = "tokens";
  recipe.sources.front().paths = {folder.path() + "/data/store"};
  EXPECT_EQ(refusal("byte_bpe"), "tokenizer \"byte_bpe\" learns from text, and no source has any");
}

}  // namespace
}  // namespace trainhost
