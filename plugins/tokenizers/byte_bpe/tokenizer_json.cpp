#include "tokenizer_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "byte_map.h"
#include "pair_table.h"
#include "trainhost/cpp/plugin.hpp"

namespace trainhost::byte_bpe {
namespace {

using nlohmann::json;
using sdk::Failure;

constexpr size_t kLongestQuote = 100;  // bytes

[[noreturn]] void corrupt(const std::string &text) { throw Failure(TH_CORRUPT, "tokenizer.json: " + text); }
[[noreturn]] void unsupported(const std::string &text) { throw Failure(TH_UNSUPPORTED, "tokenizer.json: " + text); }

std::string quote(const json &value) {
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= kLongestQuote) return text;
  size_t size = kLongestQuote;
  while ((text[size] & 0xC0) == 0x80) --size;  // whole characters only
  return text.substr(0, size) + "...";
}

// The member, or null when it is not there.
const json &member(const json &object, const char *name) {
  static const json null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}

json parse(std::string_view text) {
  try {
    json document = json::parse(text);
    if (!document.is_object()) corrupt("found " + quote(document) + ", expected an object");
    return document;
  } catch (const json::parse_error &error) {
    corrupt("not valid JSON at byte " + std::to_string(error.byte));
  }
}

bool is_of_type(const json &value, const char *type) { return value.is_object() && member(value, "type") == type; }

void check_pre_tokenizer(const json &pre_tokenizer) {
  const bool byte_level = is_of_type(pre_tokenizer, "ByteLevel") && member(pre_tokenizer, "add_prefix_space") == false &&
                          pre_tokenizer.value("use_regex", json(true)) == true;
  if (byte_level) return;
  unsupported("pre_tokenizer is " + quote(pre_tokenizer) + ", expected ByteLevel with add_prefix_space false and use_regex true");
}

// Everything in the file that changes ids, other than vocabulary and merges.
void check_pipeline(const json &document) {
  if (member(document, "version") != "1.0") corrupt("version is " + quote(member(document, "version")) + ", expected \"1.0\"");
  for (const char *part : {"normalizer", "truncation", "padding"}) {
    if (!member(document, part).is_null()) unsupported(std::string(part) + " is " + quote(document[part]) + ", expected null");
  }
  check_pre_tokenizer(member(document, "pre_tokenizer"));
  const json &post_processor = member(document, "post_processor");  // ByteLevel moves offsets only
  if (!post_processor.is_null() && !is_of_type(post_processor, "ByteLevel")) {
    unsupported("post_processor is " + quote(post_processor) + ", expected null or ByteLevel");
  }
  const json &decoder = member(document, "decoder");
  if (!is_of_type(decoder, "ByteLevel")) unsupported("decoder is " + quote(decoder) + ", expected ByteLevel");
}

// The unknown token, its fusing and the byte fallback need no check: they act only where a byte has no token.
void check_model(const json &model) {
  if (!is_of_type(model, "BPE")) unsupported("model is " + quote(model) + ", expected type BPE");
  const auto expect = [&](const char *name, std::initializer_list<json> neutral) {
    const json &value = member(model, name);
    if (value.is_null() || std::ranges::find(neutral, value) != neutral.end()) return;
    unsupported("model." + std::string(name) + " is " + quote(value) + ", expected " + quote(*neutral.begin()));
  };
  expect("dropout", {nullptr, 0.0});
  expect("continuing_subword_prefix", {nullptr, ""});
  expect("end_of_word_suffix", {nullptr, ""});
  expect("ignore_merges", {false});
  if (!member(model, "vocab").is_object()) corrupt("model.vocab is " + quote(member(model, "vocab")) + ", expected an object");
  if (!member(model, "merges").is_array()) corrupt("model.merges is " + quote(member(model, "merges")) + ", expected an array");
}

using Ids = std::unordered_map<std::string, uint32_t>;  // by spelling

uint32_t id_of(const json &id, size_t count, const std::string &where) {
  if (!id.is_number_unsigned() || id.get<uint64_t>() >= count) {
    corrupt(where + " has id " + quote(id) + ", expected 0 to " + std::to_string(count - 1) + ", each once");
  }
  return id.get<uint32_t>();
}

Ids read_ids(const json &vocab, const json &added, const std::unordered_set<std::string> &special) {
  size_t count = vocab.size();
  for (const std::string &name : special) count += !vocab.contains(name);
  Ids ids;
  for (const auto &[spelling, id] : vocab.items()) ids[spelling] = id_of(id, count, "token " + quote(spelling));
  for (const json &token : added) {
    const auto name = token["content"].get<std::string>();
    const uint32_t id = id_of(member(token, "id"), count, "added token " + quote(name));
    const uint32_t known = ids.try_emplace(name, id).first->second;
    if (known != id) corrupt("added token " + quote(name) + " has id " + std::to_string(id) + " and elsewhere " + std::to_string(known));
  }
  return ids;
}

// An added token that is not special would be found in ordinary text before it is split.
std::unordered_set<std::string> read_special(const json &added) {
  std::unordered_set<std::string> special;
  for (const json &token : added) {
    if (!token.is_object() || !member(token, "content").is_string()) corrupt("added token " + quote(token) + " has no content");
    if (member(token, "special") != true) unsupported("added token " + quote(token["content"]) + " is not special");
    special.insert(token["content"].get<std::string>());
  }
  return special;
}

std::vector<Token> read_tokens(const Ids &ids, const std::unordered_set<std::string> &special) {
  std::vector<Token> tokens(ids.size());
  std::vector<bool> taken(ids.size());
  for (const auto &[spelling, id] : ids) {
    if (taken[id]) corrupt("two tokens have id " + std::to_string(id));
    taken[id] = true;
    if (special.contains(spelling)) {
      tokens[id] = {spelling, true};
      continue;
    }
    const auto bytes = unspell(spelling);
    if (!bytes || bytes->empty()) corrupt("token " + quote(spelling) + " is not spelt in the byte-level alphabet");
    tokens[id] = {*bytes, false};
  }
  return tokens;
}

void find_bytes(Vocabulary &vocabulary) {
  std::array<bool, 256> found{};
  for (uint32_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Token &token = vocabulary.tokens[id];
    if (token.special || token.bytes.size() != 1) continue;
    const auto byte = static_cast<uint8_t>(token.bytes[0]);
    found[byte] = true;
    vocabulary.byte_ids[byte] = id;
  }
  const auto missing = std::ranges::find(found, false);
  if (missing == found.end()) return;
  const auto byte = static_cast<uint8_t>(missing - found.begin());
  corrupt("no token for byte " + std::to_string(byte) + " (spelt " + quote(spell(std::string(1, static_cast<char>(byte)))) +
          "); expected one for each of the 256 bytes");
}

// ["a", "b"], or "a b" as older versions wrote it.
std::pair<std::string, std::string> read_parts(const json &merge, const std::string &where) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) return {merge[0], merge[1]};
  if (merge.is_string()) {
    const auto &text = merge.get_ref<const std::string &>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos)
      return {text.substr(0, space), text.substr(space + 1)};
  }
  corrupt(where + " is " + quote(merge) + ", expected two tokens");
}

std::vector<Merge> read_merges(const json &array, const Ids &ids, const std::vector<Token> &tokens) {
  std::vector<Merge> merges;
  PairTable<bool> seen(array.size());
  for (const json &merge : array) {
    const std::string where = "model.merges[" + std::to_string(merges.size()) + "]";
    const auto [left, right] = read_parts(merge, where);
    const auto ordinary = [&](const std::string &spelling) {
      const auto found = ids.find(spelling);
      if (found == ids.end()) corrupt(where + " " + quote(merge) + ": " + quote(spelling) + " is not in model.vocab");
      if (tokens[found->second].special) corrupt(where + " " + quote(merge) + ": " + quote(spelling) + " is a special token");
      return found->second;
    };
    const Merge read{ordinary(left), ordinary(right), ordinary(left + right)};
    bool &repeated = seen[make_pair(read.left, read.right)];
    if (repeated) corrupt(where + " " + quote(merge) + " is there twice");
    repeated = true;
    merges.push_back(read);
  }
  return merges;
}

}  // namespace

Vocabulary read_tokenizer_json(std::string_view text) {
  const json document = parse(text);
  check_pipeline(document);
  const json &model = member(document, "model");
  check_model(model);
  const json &added = member(document, "added_tokens");
  if (!added.is_null() && !added.is_array()) corrupt("added_tokens is " + quote(added) + ", expected an array");

  const auto special = read_special(added);
  const Ids ids = read_ids(model["vocab"], added, special);
  Vocabulary vocabulary;
  vocabulary.tokens = read_tokens(ids, special);
  find_bytes(vocabulary);
  vocabulary.merges = read_merges(model["merges"], ids, vocabulary.tokens);
  const auto end = ids.find(std::string(kEndOfText));
  if (end != ids.end() && vocabulary.tokens[end->second].special) vocabulary.end_id = end->second;
  return vocabulary;
}

std::string write_tokenizer_json(const Vocabulary &vocabulary) {
  json vocab = json::object();
  json added = json::array();
  const auto spelling = [&](uint32_t id) {
    const Token &token = vocabulary.tokens[id];
    return token.special ? token.bytes : spell(token.bytes);
  };
  for (uint32_t id = 0; id < vocabulary.tokens.size(); ++id) {
    vocab[spelling(id)] = id;
    if (!vocabulary.tokens[id].special) continue;
    added.push_back({{"id", id},
                     {"content", spelling(id)},
                     {"special", true},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false}});
  }
  json merges = json::array();
  for (const Merge &merge : vocabulary.merges) merges.push_back({spelling(merge.left), spelling(merge.right)});

  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  json model = {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"ignore_merges", false},
                {"vocab", std::move(vocab)},
                {"merges", std::move(merges)}};
  const json document = {
      {"version", "1.0"},         {"truncation", nullptr},       {"padding", nullptr},        {"added_tokens", std::move(added)},
      {"normalizer", nullptr},    {"pre_tokenizer", byte_level}, {"post_processor", nullptr}, {"decoder", byte_level},
      {"model", std::move(model)}};
  return document.dump();
}

}  // namespace trainhost::byte_bpe
