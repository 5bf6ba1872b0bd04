#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
#include "plugin_host/adapters/tokenizer.h"
#include "validate/child.h"
#include "validate/guarded_memory.h"
#include "validate/rules.h"

namespace trainhost::validator {
namespace {

using TokenizerObject = std::unique_ptr<Tokenizer>;

constexpr uint64_t kTextStream = 1, kDamageStream = 2;

const std::array<std::string_view, 4> kDocuments{"The cat sat on the mat, and the dog sat on the log; neither of the two said anything.",
                                                 "训练一个语言模型需要文字。文字，文字，还是文字。",
                                                 "for (int i = 0; i < 10; ++i) { total += values[i]; }\n\n\treturn total;\n",
                                                 "naïve café — “quoted” … 𝒳 🙂 e\xcc\x81"};

std::string random_bytes(uint64_t seed, uint64_t number, size_t length) {
  std::string text(length, '\0');
  for (size_t i = 0; i < length; ++i) text[i] = static_cast<char>(random_bits(seed, kTextStream, number << 32 | i));
  return text;
}

// All that a text may be.
std::vector<std::string> texts(uint64_t seed) {
  std::vector<std::string> all{
      "", std::string(1, '\0'), " ", "a", "\xff\xfe\xfd", "<|endoftext|>", std::string(3000, 'a'), std::string(300, '\n')};
  all.insert(all.end(), kDocuments.begin(), kDocuments.end());
  for (uint64_t i = 0; i < 60; ++i) all.push_back(random_bytes(seed, i, 1 + i * i));
  return all;
}

// The state made from the documents; empty where the tokenizer needs none.
Result<std::string> trained_state(const Trial &trial, const SharedRecord &record) {
  TRAINHOST_TRY(const auto instance, trial.instance(record));
  TRAINHOST_TRY(const bool trainable, Tokenizer::is_trainable(*instance));
  if (!trainable) return std::string();
  uint64_t total = 0;
  for (const std::string_view document : kDocuments) total += document.size();
  size_t given = 0;
  doing("train on four documents");
  return Tokenizer::train(
      *instance,
      [&]() -> Result<std::optional<std::string_view>> {
        return given < kDocuments.size() ? std::optional(kDocuments[given++]) : std::nullopt;
      },
      total);
}

Result<TokenizerObject> create(const Trial &trial, const SharedRecord &record = std::make_shared<HostRecord>()) {
  TRAINHOST_TRY(const std::string state, trained_state(trial, record));
  TRAINHOST_TRY(auto instance, trial.instance(record));
  doing("create");
  return Tokenizer::create(std::move(instance), state);
}

Result<std::vector<std::vector<uint32_t>>> encoded(const Tokenizer &tokenizer, const std::vector<std::string> &texts) {
  std::vector<std::vector<uint32_t>> ids(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    doing(fmt::format("encode of text {} of {} bytes", i, texts[i].size()));
    TRAINHOST_CHECK(tokenizer.encode(texts[i], ids[i]));
  }
  return ids;
}

Result<std::string> live(const Trial &trial, const SharedRecord &record) {
  TRAINHOST_TRY(const TokenizerObject tokenizer, create(trial, record));
  TRAINHOST_TRY(const auto ids, encoded(*tokenizer, texts(trial.seed())));
  std::string results = tokenizer->fingerprint();
  for (const auto &text : ids) {
    for (const uint32_t id : text) append(results, id);
    doing("decode");
    TRAINHOST_TRY(const std::string bytes, tokenizer->decode(text));
    results += bytes;
  }
  return results;
}

Result<> round_trip(const Trial &trial) {
  TRAINHOST_TRY(const TokenizerObject tokenizer, create(trial));
  const auto all = texts(trial.seed());
  TRAINHOST_TRY(const auto ids, encoded(*tokenizer, all));
  for (size_t i = 0; i < all.size(); ++i) {
    doing(fmt::format("decode of text {}", i));
    TRAINHOST_TRY(const std::string bytes, tokenizer->decode(ids[i]));
    if (bytes == all[i]) continue;
    const auto at = static_cast<size_t>(std::ranges::mismatch(all[i], bytes).in1 - all[i].begin());
    return broken(fmt::format("text {} of {} bytes comes back with {} bytes, unlike from byte {} on", i, all[i].size(), bytes.size(), at));
  }
  return {};
}

Result<> refuses_other_ids(const Trial &trial) {
  TRAINHOST_TRY(const TokenizerObject tokenizer, create(trial));
  for (const uint32_t id : {tokenizer->vocabulary_size(), tokenizer->vocabulary_size() + 1, UINT32_MAX}) {
    doing(fmt::format("decode of id {}", id));
    if (tokenizer->decode(std::span(&id, 1)))
      return broken(fmt::format("decodes id {}, though its vocabulary has {}", id, tokenizer->vocabulary_size()));
  }
  if (const auto end = tokenizer->end_id()) {
    TRAINHOST_TRY(const std::string bytes, tokenizer->decode(std::span(&*end, 1)));
    if (!bytes.empty()) return broken("the end token decodes to text");
  }
  for (uint32_t id = 0; id < std::min(tokenizer->vocabulary_size(), 70000u); ++id) {
    doing(fmt::format("decode of id {}", id));
    TRAINHOST_CHECK(tokenizer->decode(std::span(&id, 1)));
  }
  return {};
}

Result<> many_threads(const Trial &trial) {
  TRAINHOST_TRY(const TokenizerObject tokenizer, create(trial));
  const auto all = texts(trial.seed());
  TRAINHOST_TRY(const auto alone, encoded(*tokenizer, all));
  std::array<Result<std::vector<std::vector<uint32_t>>>, 4> together;
  std::vector<std::thread> threads;
  for (auto &result : together) threads.emplace_back([&] { result = encoded(*tokenizer, all); });
  for (std::thread &thread : threads) thread.join();
  for (const auto &result : together) {
    TRAINHOST_CHECK(result);
    if (*result != alone) return broken("four threads at once get other ids than one");
  }
  return {};
}

Result<std::string> state_or_nothing(const Trial &trial) {
  TRAINHOST_TRY(std::string state, trained_state(trial, std::make_shared<HostRecord>()));
  if (state.empty()) return not_concerned("it is not trained, so it has no state");
  return state;
}

Result<> same_state(const Trial &trial) {
  TRAINHOST_TRY(const std::string state, state_or_nothing(trial));
  TRAINHOST_TRY(const std::string again, state_or_nothing(trial));
  if (state != again) return broken("training twice on the same documents gives different states");
  return {};
}

// Damaged states: cut at many places, with bytes changed, random bytes, none.
Result<> damaged_states(const Trial &trial) {
  TRAINHOST_TRY(const std::string state, state_or_nothing(trial));
  const auto try_out = [&](const std::string &damaged, const std::string &how) -> Result<> {
    const auto record = std::make_shared<HostRecord>();
    TRAINHOST_TRY(auto instance, trial.instance(record));
    doing("create from a state " + how);
    const auto tokenizer = Tokenizer::create(std::move(instance), damaged);
    if (tokenizer) {  // a change that it does not notice must at least do no harm
      std::vector<uint32_t> ids;
      doing("encode after creating from a state " + how);
      TRAINHOST_CHECK((*tokenizer)->encode(kDocuments[0], ids));
    } else if (tokenizer.error().kind == ErrorKind::kPluginContract) {
      return broken(fmt::format("from a state {}: {}", how, tokenizer.error().message));
    }
    return {};
  };
  for (size_t i = 0; i < 100; ++i) {
    const size_t length = state.size() * i / 100;
    TRAINHOST_CHECK(try_out(state.substr(0, length), fmt::format("cut to {} of {} bytes", length, state.size())));
    std::string changed = state;
    const size_t at = random_bits(trial.seed(), kDamageStream, i) % state.size();
    changed[at] = static_cast<char>(changed[at] ^ (1 << i % 8));
    TRAINHOST_CHECK(try_out(changed, fmt::format("with byte {} changed", at)));
    TRAINHOST_CHECK(try_out(random_bytes(trial.seed(), 1000 + i, 10 * i), fmt::format("of {} random bytes", 10 * i)));
  }
  return try_out(state + "x", "with a byte more");
}

// What one call is given is gone in the next.
Result<> keeps_no_pointer(const Trial &trial) {
  const auto guarded = []<class Item>(std::span<const Item> items) {
    GuardedArray<Item> array(items.size());
    std::ranges::copy(items, array.data());
    return array;
  };
  TRAINHOST_TRY(const std::string trained, trained_state(trial, std::make_shared<HostRecord>()));
  TRAINHOST_TRY(auto instance, trial.instance());
  auto state = guarded(std::span<const char>(trained));
  doing("create");
  TRAINHOST_TRY(const TokenizerObject tokenizer, Tokenizer::create(std::move(instance), {state.data(), state.size()}));
  state.memory().forbid();
  std::vector<GuardedArray<char>> gone_texts;
  std::vector<GuardedArray<uint32_t>> gone_ids;
  for (const std::string &text : texts(trial.seed())) {
    auto &given = gone_texts.emplace_back(guarded(std::span<const char>(text)));
    std::vector<uint32_t> encoded;
    doing("encode, where nothing that earlier calls were given is there any more");
    TRAINHOST_CHECK(tokenizer->encode({given.data(), given.size()}, encoded));
    given.memory().forbid();
    auto &ids = gone_ids.emplace_back(guarded(std::span<const uint32_t>(encoded)));
    doing("decode, where nothing that earlier calls were given is there any more");
    TRAINHOST_CHECK(tokenizer->decode(ids.items()));
    ids.memory().forbid();
  }
  return {};
}

constexpr std::array kRules{
    Rule{"TH-TOK-01", "decode(encode(text)) is the text, for any bytes", round_trip},
    Rule{"TH-TOK-02", "decodes every id of its vocabulary and refuses all others", refuses_other_ids},
    Rule{"TH-TOK-03", "threads that encode at once get the same ids", many_threads},
    Rule{"TH-TOK-04", "the same documents give the same state", same_state},
    Rule{"TH-TOK-05", "a damaged state is refused or does no harm", damaged_states},
    Rule{"TH-TOK-06", "keeps no pointer to what a call is given", keeps_no_pointer},
};
constexpr KindRules kKind{kRules, live};

}  // namespace

const KindRules &tokenizer_rules() { return kKind; }

}  // namespace trainhost::validator
