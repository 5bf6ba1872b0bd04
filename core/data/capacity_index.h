// The windows that still have room, by how much: finds the one with the least room that is enough.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace trainhost {

// Rooms are 1 .. largest. Windows of one room are a stack, linked through an array; a tree of bit sets over the rooms, 64 to a word,
// says which stacks are not empty.
class CapacityIndex {
 public:
  static constexpr uint64_t kNone = ~uint64_t{0};

  explicit CapacityIndex(uint32_t largest) : heads_(size_t{largest} + 1, kNone) {
    size_t count = heads_.size();
    do {
      count = (count + 63) / 64;
      levels_.emplace_back(count, 0);
    } while (count > 1);
  }

  // Windows come with numbers from 0 without gaps when they first have room.
  void add(uint64_t window, uint32_t room) {
    if (window >= next_.size()) next_.resize(window + 1, kNone);
    next_[window] = heads_[room];
    heads_[room] = window;
    size_t bit = room;
    for (auto &level : levels_) {
      level[bit / 64] |= uint64_t{1} << bit % 64;
      bit /= 64;
    }
  }

  // The least room >= `needed` that some window has; 0 when none has.
  uint32_t least_room(uint32_t needed) const {
    size_t bit = needed;
    for (size_t depth = 0; depth < levels_.size(); ++depth) {  // up until a set bit follows, then down along the first ones
      const size_t word = bit / 64;
      if (word >= levels_[depth].size()) return 0;
      const uint64_t rest = levels_[depth][word] >> bit % 64 << bit % 64;
      if (rest != 0) return descend(depth, word * 64 + static_cast<size_t>(std::countr_zero(rest)));
      bit = word + 1;
    }
    return 0;
  }

  // Takes the latest window of that room out.
  uint64_t take(uint32_t room) {
    const uint64_t window = heads_[room];
    heads_[room] = next_[window];
    size_t bit = room;
    bool empty = heads_[room] == kNone;
    for (size_t depth = 0; depth < levels_.size() && empty; ++depth) {
      levels_[depth][bit / 64] &= ~(uint64_t{1} << bit % 64);
      empty = levels_[depth][bit / 64] == 0;
      bit /= 64;
    }
    return window;
  }

 private:
  uint32_t descend(size_t depth, size_t bit) const {
    while (depth-- > 0) bit = bit * 64 + static_cast<size_t>(std::countr_zero(levels_[depth][bit]));
    return static_cast<uint32_t>(bit);
  }

  std::vector<uint64_t> heads_, next_;
  std::vector<std::vector<uint64_t>> levels_;
};

}  // namespace trainhost
