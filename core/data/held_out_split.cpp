#include "data/held_out_split.h"

#include <algorithm>
#include <charconv>

#include "base/hash.h"

namespace trainhost {
namespace {

// The first 64 bits of the text's SHA-256.
uint64_t hash_of(std::string_view text) {
  const std::string digest = sha256(text);
  uint64_t value = 0;
  std::from_chars(digest.data(), digest.data() + 16, value, 16);
  return value;
}

}  // namespace

void HeldOutSplit::observe(std::string_view text) {
  const uint64_t hash = hash_of(text);
  least_ = std::min(least_, hash);
  greatest_ = std::max(greatest_, hash);
}

bool HeldOutSplit::holds_out(std::string_view text) const {
  if (share_ <= 0) return false;
  const uint64_t hash = hash_of(text);
  return hash < greatest_ && (hash == least_ || static_cast<double>(hash) < share_ * 0x1p64);
}

}  // namespace trainhost
