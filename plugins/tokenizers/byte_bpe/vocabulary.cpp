#include "vocabulary.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <new>

#include "byte_map.h"

namespace trainhost::byte_bpe {
namespace {

// To be changed when the same vocabulary would give other ids.
constexpr std::string_view kEncoding = "trainhost byte_bpe 1: GPT-2 pattern, Unicode 16.0 classes, invalid bytes as symbols";

// Two 128-bit XXH3 hashes with different seeds.
class Fingerprint {
 public:
  Fingerprint() {
    for (uint64_t seed = 0; seed < states_.size(); ++seed) {
      states_[seed].reset(XXH3_createState());
      if (!states_[seed]) throw std::bad_alloc();
      XXH3_128bits_reset_withSeed(states_[seed].get(), seed);
    }
  }
  void add(std::string_view bytes) {
    for (auto &state : states_) XXH3_128bits_update(state.get(), bytes.data(), bytes.size());
  }
  void add(uint32_t number) {
    const char bytes[] = {char(number), char(number >> 8), char(number >> 16), char(number >> 24)};
    add(std::string_view(bytes, sizeof bytes));
  }
  std::array<uint8_t, 32> digest() const {
    std::array<uint8_t, 32> result;
    for (size_t i = 0; i < states_.size(); ++i) {
      XXH128_canonical_t canonical;
      XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(states_[i].get()));
      std::copy(std::begin(canonical.digest), std::end(canonical.digest), result.begin() + i * sizeof canonical.digest);
    }
    return result;
  }

 private:
  struct Free {
    void operator()(XXH3_state_t *state) const { XXH3_freeState(state); }
  };
  std::array<std::unique_ptr<XXH3_state_t, Free>, 2> states_;
};

}  // namespace

Vocabulary untrained_vocabulary() {
  Vocabulary vocabulary;
  vocabulary.tokens.push_back({std::string(kEndOfText), true});
  vocabulary.end_id = 0;

  std::array<uint8_t, 256> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes[byte] = static_cast<uint8_t>(byte);
  std::ranges::sort(bytes, {}, [](uint8_t byte) { return kSpelling[byte]; });
  for (const uint8_t byte : bytes) {
    vocabulary.byte_ids[byte] = static_cast<uint32_t>(vocabulary.tokens.size());
    vocabulary.tokens.push_back({std::string(1, static_cast<char>(byte)), false});
  }
  return vocabulary;
}

std::array<uint8_t, 32> fingerprint(const Vocabulary &vocabulary) {
  Fingerprint hash;
  hash.add(kEncoding);
  hash.add(static_cast<uint32_t>(vocabulary.tokens.size()));
  for (const Token &token : vocabulary.tokens) {
    hash.add(token.special);
    hash.add(static_cast<uint32_t>(token.bytes.size()));
    hash.add(token.bytes);
  }
  for (const Merge &merge : vocabulary.merges) {
    hash.add(merge.left);
    hash.add(merge.right);
  }
  return hash.digest();
}

}  // namespace trainhost::byte_bpe
