// The ids of the pieces that one thread met last.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace trainhost::byte_bpe {

// Fixed in size: 2^15 sets of two entries, each set in one cache line; the newer entry of a set pushes the older out. Holds pieces of at
// most 15 bytes with at most 3 ids, which are nearly all in most languages. One thread at a time.
class PieceCache {
 public:
  static constexpr size_t kLongestPiece = 15;
  static constexpr size_t kMostIds = 3;

  // The bytes of a piece, zeros after them, its length last: equal keys are equal pieces.
  struct Key {
    uint64_t low = 0, high = 0;
    bool operator==(const Key &) const = default;
  };
  struct Entry {
    Key key;  // of length 0: free
    uint32_t ids[kMostIds];
    uint32_t count;
  };

  PieceCache() : sets_(size_t{1} << kSetBits) {}

  // piece.size() is 1 to kLongestPiece; `end` is the end of the readable memory that the piece lies in.
  static Key key_of(std::span<const uint8_t> piece, const uint8_t *end) {
    static_assert(std::endian::native == std::endian::little);
    Key key;
    const size_t size = piece.size();
    if (end - piece.data() >= 16) {
      std::memcpy(&key, piece.data(), 16);
      const uint64_t mask = ~uint64_t{0} >> ((16 - size) % 8 * 8);  // of the last word that has bytes
      key = size > 8 ? Key{key.low, key.high & mask} : Key{key.low & mask, 0};
    } else {
      std::memcpy(&key, piece.data(), size);
    }
    key.high |= uint64_t{size} << 56;
    return key;
  }

  // Null when the piece is not there. Valid until the next insertion.
  const Entry *find(const Key &key) const {
    const Set &set = sets_[set_of(key)];
    if (set.entries[0].key == key) return &set.entries[0];
    if (set.entries[1].key == key) return &set.entries[1];
    return nullptr;
  }
  // ids.size() is 1 to kMostIds.
  void insert(const Key &key, std::span<const uint32_t> ids) {
    Set &set = sets_[set_of(key)];
    set.entries[1] = set.entries[0];
    set.entries[0].key = key;
    set.entries[0].count = static_cast<uint32_t>(ids.size());
    std::copy(ids.begin(), ids.end(), set.entries[0].ids);
  }

 private:
  static constexpr int kSetBits = 15;
  struct alignas(64) Set {
    Entry entries[2] = {};
  };

  static size_t set_of(const Key &key) {
    const uint64_t mixed = (key.low * 0x9E3779B97F4A7C15u ^ key.high) * 0xD6E8FEB86659FD93u;
    return mixed >> (64 - kSetBits);
  }

  std::vector<Set> sets_;
};

}  // namespace trainhost::byte_bpe
