// A hash table over pairs of ids, made for the inner loops of merging: open addressing, no removal.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace trainhost::byte_bpe {

using Pair = uint64_t;  // the left id above, the right id below: pairs order as their ids do

inline Pair make_pair(uint32_t left, uint32_t right) { return Pair{left} << 32 | right; }
inline uint32_t left_of(Pair pair) { return static_cast<uint32_t>(pair >> 32); }
inline uint32_t right_of(Pair pair) { return static_cast<uint32_t>(pair); }

// Many threads may find at once while none inserts.
template <class Value>
class PairTable {
 public:
  explicit PairTable(size_t expected = 0) { resize(std::bit_ceil(2 * expected + 16)); }

  // Null when the pair is not there. Valid until the next insertion.
  const Value *find(Pair pair) const {
    const Slot &slot = slots_[place_of(pair)];
    return slot.pair == pair ? &slot.value : nullptr;
  }
  // The value of the pair, made by default when it is not there. Valid until the next insertion.
  Value &operator[](Pair pair) {
    size_t place = place_of(pair);
    if (slots_[place].pair == pair) return slots_[place].value;
    if (2 * ++size_ > slots_.size()) {
      grow();
      place = place_of(pair);
    }
    slots_[place].pair = pair;
    return slots_[place].value;
  }
  size_t size() const { return size_; }

  template <class Visit>
  void for_each(Visit &&visit) {
    for (Slot &slot : slots_) {
      if (slot.pair != kEmpty) visit(slot.pair, slot.value);
    }
  }

 private:
  static constexpr Pair kEmpty = ~Pair{0};  // ids are far below 2^32 - 1
  struct Slot {
    Pair pair = kEmpty;
    Value value{};
  };

  // Where the pair is, or the free slot where it would be.
  size_t place_of(Pair pair) const {
    size_t place = (pair * 0x9E3779B97F4A7C15u) >> shift_;  // multiplicative hashing by 2^64 / golden ratio
    while (slots_[place].pair != pair && slots_[place].pair != kEmpty) place = (place + 1) & (slots_.size() - 1);
    return place;
  }
  void resize(size_t slots) {
    slots_.assign(slots, Slot{});
    shift_ = 64 - std::countr_zero(slots);
  }
  void grow() {
    std::vector<Slot> old = std::move(slots_);
    resize(2 * old.size());
    for (Slot &slot : old) {
      if (slot.pair != kEmpty) slots_[place_of(slot.pair)] = std::move(slot);
    }
  }

  std::vector<Slot> slots_;
  size_t size_ = 0;
  int shift_ = 0;
};

}  // namespace trainhost::byte_bpe
