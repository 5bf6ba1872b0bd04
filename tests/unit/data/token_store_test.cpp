#include "data/token_store.h"

#include <functional>

#include <gtest/gtest.h>

#include "store_under_test.h"
#include "temporary_folder.h"

namespace trainhost {
namespace {

const std::string kGolden = TRAINHOST_SOURCE_DIR "/tests/golden/megatron_store/";

// As in tests/golden/megatron_store.py.
Documents golden_documents(uint32_t vocabulary_size) {
  Documents documents;
  for (const uint32_t length : {5, 1, 300, 17}) {
    const auto number = static_cast<uint32_t>(documents.size());
    documents.emplace_back();
    for (uint32_t i = 0; i < length; ++i) documents.back().push_back((number * 1000 + 7 * i) % vocabulary_size);
  }
  return documents;
}

std::vector<uint32_t> document_of(const TokenStore &store, uint64_t document) {
  std::vector<uint32_t> ids;
  for (uint64_t i = store.document_begin(document); i < store.document_end(document); ++i) ids.push_back(store.token(i));
  return ids;
}

// The message of the failure to open the store.
std::string refusal(const std::string &prefix, uint32_t vocabulary_size = 4096) {
  const auto store = TokenStore::open(prefix, vocabulary_size);
  if (store) return "opened";
  EXPECT_EQ(store.error().kind, ErrorKind::kData);
  return store.error().message;
}

TEST(TokenStore, ReadsWhatMegatronWrote) {
  for (const auto &[name, vocabulary_size] : {std::pair("narrow", 4096u), std::pair("wide", 100'000u)}) {
    const auto store = TokenStore::open(kGolden + name, vocabulary_size);
    ASSERT_TRUE(store) << store.error().message;
    const Documents expected = golden_documents(vocabulary_size);
    ASSERT_EQ((*store)->documents(), expected.size());
    EXPECT_EQ((*store)->tokens(), 323u);
    for (uint64_t i = 0; i < expected.size(); ++i) EXPECT_EQ(document_of(**store, i), expected[i]);
    EXPECT_EQ((*store)->bytes_of_text(), 0u);
    EXPECT_TRUE((*store)->counts(0));
  }
}

TEST(TokenStore, JoinsTheSequencesOfAMegatronDocument) {
  const auto store = TokenStore::open(kGolden + "pieces", 4096).value();
  ASSERT_EQ(store->documents(), 2u);
  EXPECT_EQ(document_of(*store, 0), (std::vector<uint32_t>{1, 2, 3, 4}));
  EXPECT_EQ(document_of(*store, 1), (std::vector<uint32_t>{5, 6}));
}

TEST(TokenStoreWriter, WritesTheBytesThatMegatronWrites) {
  const TemporaryFolder folder;
  for (const auto &[name, vocabulary_size] : {std::pair("narrow", 4096u), std::pair("wide", 100'000u)}) {
    write_store(folder.path() + "/" + name, golden_documents(vocabulary_size), vocabulary_size);
    for (const char *ending : {".bin", ".idx"}) {
      EXPECT_EQ(contents_of(folder.path() + "/" + name + ending), contents_of(kGolden + name + ending)) << name << ending;
    }
  }
}

TEST(TokenStore, KeepsTheMaskAndTheSidecar) {
  const TemporaryFolder folder;
  const auto store = store_of(folder.path() + "/s", {{1, 2, 3}, {4, 5}}, 4096, {{0, 0, 1}, {0, 1}});
  const std::vector<bool> expected = {false, false, true, false, true};
  for (uint64_t i = 0; i < 5; ++i) EXPECT_EQ(store->counts(i), expected[i]) << i;
  EXPECT_EQ(store->bytes_of_text(), 5u);
  const auto sidecar = nlohmann::json::parse(contents_of(folder.path() + "/s.json"));
  EXPECT_EQ(sidecar["tokens"], 5);
  EXPECT_EQ(sidecar["counted_tokens"], 2);
  EXPECT_EQ(sidecar["largest_id"], 5);
  EXPECT_EQ(sidecar["bin_sha256"], sha256(contents_of(folder.path() + "/s.bin")));
}

TEST(TokenStore, MayBeEmpty) {
  const TemporaryFolder folder;
  const auto store = store_of(folder.path() + "/s", {}, 4096);
  EXPECT_EQ(store->documents(), 0u);
  EXPECT_EQ(store->tokens(), 0u);
}

TEST(TokenStore, IsCutIntoSlices) {
  const TemporaryFolder folder;
  const auto store = store_of(folder.path() + "/s", {{1, 2, 3}, {4, 5}, {6, 7, 8}}, 4096, {{1, 1, 1}, {1, 0}, {1, 1, 0}});
  const auto tail = store->slice(1, 3);
  ASSERT_EQ(tail->documents(), 2u);
  EXPECT_EQ(document_of(*tail, 0), (std::vector<uint32_t>{4, 5}));
  EXPECT_EQ(document_of(*tail, 1), (std::vector<uint32_t>{6, 7, 8}));
  EXPECT_FALSE(tail->counts(1));
  EXPECT_TRUE(tail->counts(2));
  EXPECT_EQ(document_of(*tail->slice(1, 2), 0), (std::vector<uint32_t>{6, 7, 8}));
  EXPECT_EQ(store->slice(3, 3)->documents(), 0u);
}

// Each damage to a good store, and what is said of it.
struct Damage {
  const char *name;
  std::function<void(std::string &idx, std::string &bin)> spoil;
  std::string message;  // after the path without ending
};

void set_byte(std::string &bytes, size_t at, char value) { bytes[at] = value; }

TEST(TokenStore, RefusesDamage) {
  const std::vector<Damage> damages = {
      {"zero-length index", [](auto &idx, auto &) { idx.clear(); }, ".idx: has 0 bytes; a Megatron index has at least 34"},
      {"other file", [](auto &idx, auto &) { set_byte(idx, 0, 'X'); }, ".idx: does not begin with \"MMIDIDX\"; expected a Megatron index"},
      {"version", [](auto &idx, auto &) { set_byte(idx, 9, 2); }, ".idx: is of version 2; expected 1"},
      {"token type", [](auto &idx, auto &) { set_byte(idx, 17, 6); },
       ".idx: has token type 6; expected 1, 2, 3, 4, 5 or 8, which are integers"},
      {"cut index", [](auto &idx, auto &) { idx.resize(60); },
       ".idx: has 60 bytes, which does not fit the 2 sequences and 3 document indices of its header; the file is cut or damaged"},
      {"huge count", [](auto &idx, auto &) { idx.replace(18, 8, std::string(8, '\x7f')); },
       ".idx: has 82 bytes, which does not fit the 9187201950435737471 sequences and 3 document indices of its header; the file is cut or "
       "damaged"},
      {"negative length", [](auto &idx, auto &) { idx.replace(34, 4, "\xff\xff\xff\xff"); }, ".idx: sequence 0 has length -1"},
      {"gap", [](auto &idx, auto &) { set_byte(idx, 50, 8); },
       ".idx: sequence 1 begins at byte 8 of the .bin; expected 6, where the one before it ends"},
      {"documents", [](auto &idx, auto &) { set_byte(idx, 58, 1); }, ".idx: document index 0 is 1; expected them to rise from 0 to 2"},
      {"documents short", [](auto &idx, auto &) { set_byte(idx, 74, 1); }, ".idx: its documents cover 1 of 2 sequences"},
      {"cut tokens", [](auto &, auto &bin) { bin.pop_back(); },
       ".bin: has 9 bytes; its index says 5 tokens of 2 bytes, 10 in all; the file is cut or not of this index"},
      {"zero-length tokens", [](auto &, auto &bin) { bin.clear(); },
       ".bin: has 0 bytes; its index says 5 tokens of 2 bytes, 10 in all; the file is cut or not of this index"},
      {"foreign id", [](auto &, auto &bin) { set_byte(bin, 7, 0x10); },
       ".bin: token 3 (in document 1) is 4100; the tokenizer has ids 0 to 4095: it is not the one the store was made with"},
  };
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/s";
  write_store(prefix, {{1, 2, 3}, {4, 5}}, 4096);
  std::filesystem::remove(prefix + ".json");
  const std::string good_idx = contents_of(prefix + ".idx"), good_bin = contents_of(prefix + ".bin");
  ASSERT_EQ(refusal(prefix), "opened");
  for (const Damage &damage : damages) {
    std::string idx = good_idx, bin = good_bin;
    damage.spoil(idx, bin);
    folder.write("s.idx", idx);
    folder.write("s.bin", bin);
    EXPECT_EQ(refusal(prefix), prefix + damage.message) << damage.name;
  }
}

TEST(TokenStore, RefusesAnIndexCutAnywhere) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/s";
  write_store(prefix, {{1, 2, 3}, {4, 5}}, 4096);
  const std::string idx = contents_of(prefix + ".idx");
  for (size_t length = 0; length < idx.size(); ++length) {
    folder.write("s.idx", idx.substr(0, length));
    EXPECT_NE(refusal(prefix), "opened") << length;
  }
}

TEST(TokenStore, RefusesAlteredHeaderBytesOrReadsThemWithinTheFile) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/s";
  write_store(prefix, {{1, 2, 3}, {4, 5}}, 4096);
  const std::string idx = contents_of(prefix + ".idx");
  for (size_t at = 0; at < idx.size(); ++at) {
    for (const int value : {1, 128, 255}) {
      std::string altered = idx;
      altered[at] = static_cast<char>(value);
      folder.write("s.idx", altered);
      const auto store = TokenStore::open(prefix, 4096);
      if (store) {
        EXPECT_EQ((*store)->tokens(), 5u) << at << " " << value;
      }
    }
  }
}

TEST(TokenStore, RefusesNegativeIdsAndAnotherTokenizersStore) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/s";
  write_store(prefix, {{70'000, 2}, {4, 80'000}}, 100'000);
  EXPECT_EQ(refusal(prefix, 80'000),
            prefix + ".bin: token 3 (in document 1) is 80000; the tokenizer has ids 0 to 79999: it is not the one the store was made with");
  std::filesystem::remove(prefix + ".json");
  std::string bin = contents_of(prefix + ".bin");
  bin[7] = '\xff';
  folder.write("s.bin", bin);
  EXPECT_EQ(refusal(prefix, 100'000), prefix +
                                          ".bin: token 1 (in document 0) is -16777214; the tokenizer has ids 0 to 99999: it is not the "
                                          "one the store was made with");
}

TEST(TokenStore, RefusesAMaskOrSidecarOfAnotherStore) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/s";
  write_store(prefix, {{1, 2, 3}, {4, 5}}, 4096, {{1, 1, 1}, {1, 1}});
  folder.write("s.mask", "1111");
  EXPECT_EQ(refusal(prefix), prefix + ".mask: has 4 bytes; expected one for each of 5 tokens");
  folder.write("s.mask", "11111");
  folder.write("s.json", R"({"format": "trainhost token store 1", "documents": 2, "tokens": 6, "bytes_of_text": 0, "largest_id": 5})");
  EXPECT_EQ(refusal(prefix), prefix + ".json: says 2 documents and 6 tokens; the index has 2 and 5");
  folder.write("s.json", R"({"format": "trainhost token store 1", "documents": 2})");
  EXPECT_EQ(refusal(prefix), prefix + ".json: lacks one of the store's counts; remove the store and prepare it again");
}

TEST(TokenStore, NamesAFileThatIsNotThere) {
  const TemporaryFolder folder;
  EXPECT_EQ(refusal(folder.path() + "/s"), folder.path() + "/s.idx: cannot be opened: No such file or directory");
}

TEST(TokenStore, NoticesAFileThatChangesWhileItIsOpen) {
  const TemporaryFolder folder;
  const std::string prefix = folder.path() + "/s";
  const auto store = store_of(prefix, {{1, 2, 3}, {4, 5}}, 4096);
  ASSERT_TRUE(store->check_unchanged());
  std::filesystem::resize_file(prefix + ".bin", 4);
  const auto changed = store->check_unchanged();
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().kind, ErrorKind::kData);
  EXPECT_EQ(changed.error().message,
            prefix + ".bin: had 10 bytes when the run started and has 4 now; a token store in use must not be changed");
}

}  // namespace
}  // namespace trainhost
