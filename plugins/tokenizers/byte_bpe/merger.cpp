#include "merger.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <unordered_map>

namespace trainhost::byte_bpe {
namespace {

constexpr size_t kLongestShort = 256;  // up to here scanning an array beats the bookkeeping of a queue

// The lowest rank's first place. Two passes over the array, because both vectorise.
size_t place_of_lowest(const std::vector<uint32_t> &ranks) {
  int32_t lowest = INT32_MAX;  // signed: SSE2 compares no unsigned integers
  for (const uint32_t rank : ranks) lowest = std::min(lowest, static_cast<int32_t>(rank));
  return std::find(ranks.begin(), ranks.end(), static_cast<uint32_t>(lowest)) - ranks.begin();
}

// The places where one merge may apply.
struct Places {
  std::vector<uint32_t> places;
  size_t done = 0;  // how many of them have been looked at
};

}  // namespace

Merger::Merger(const Vocabulary &vocabulary) : byte_ids_(vocabulary.byte_ids), merges_(vocabulary.merges), ranks_(vocabulary.merges.size()) {
  for (uint32_t rank = 0; rank < merges_.size(); ++rank) ranks_[make_pair(merges_[rank].left, merges_[rank].right)] = rank;
}

std::span<const uint32_t> Merger::merge(std::span<const uint8_t> piece, Scratch &scratch) const {
  scratch.symbols.resize(piece.size());
  std::ranges::transform(piece, scratch.symbols.begin(), [&](uint8_t byte) { return byte_ids_[byte]; });
  if (piece.size() <= kLongestShort) {
    merge_short(scratch);
  } else {
    merge_long(scratch.symbols);
  }
  return scratch.symbols;
}

// ranks[i] is that of symbols[i] and symbols[i + 1].
void Merger::merge_short(Scratch &scratch) const {
  auto &[symbols, ranks] = scratch;
  ranks.resize(symbols.size() - 1);
  for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = rank_of(symbols[i], symbols[i + 1]);

  while (!ranks.empty()) {
    const size_t place = place_of_lowest(ranks);
    if (ranks[place] == kNoMerge) break;
    symbols[place] = merges_[ranks[place]].result;
    symbols.erase(symbols.begin() + place + 1);
    ranks.erase(ranks.begin() + place);
    if (place > 0) ranks[place - 1] = rank_of(symbols[place - 1], symbols[place]);
    if (place < ranks.size()) ranks[place] = rank_of(symbols[place], symbols[place + 1]);
  }
}

// Goes from merge to merge, the lowest rank first, over a list of the places where its pair was seen. A place is stale when its pair has
// changed since. The places of a rank are complete when its turn comes: whatever the turn brings about contains the merge's result,
// which is longer than either of its parts. So one sort puts them from left to right.
void Merger::merge_long(std::vector<uint32_t> &symbols) const {
  constexpr uint32_t kGone = UINT32_MAX;
  const auto size = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> next(size), previous(size);
  for (uint32_t i = 0; i < size; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;
  }
  std::unordered_map<uint32_t, Places> places_of;
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ranks;  // those with places to look at, each once
  const auto note = [&](uint32_t place) {
    const uint32_t rank = rank_of(symbols[place], symbols[next[place]]);
    if (rank == kNoMerge) return;
    auto &[places, done] = places_of[rank];
    if (done == places.size()) {
      places.clear();
      done = 0;
      ranks.push(rank);
    }
    places.push_back(place);
  };
  for (uint32_t i = 0; i + 1 < size; ++i) note(i);

  while (!ranks.empty()) {
    const uint32_t rank = ranks.top();
    ranks.pop();
    const Merge &merge = merges_[rank];
    auto &[places, done] = places_of[rank];
    if (done == 0) std::ranges::sort(places);
    while (done < places.size() && (ranks.empty() || ranks.top() > rank)) {
      const uint32_t place = places[done++];
      if (symbols[place] != merge.left || next[place] == size || symbols[next[place]] != merge.right) continue;
      symbols[place] = merge.result;
      symbols[next[place]] = kGone;
      next[place] = next[next[place]];
      if (next[place] != size) previous[next[place]] = place;
      if (previous[place] != UINT32_MAX) note(previous[place]);
      if (next[place] != size) note(place);
    }
    if (done < places.size()) ranks.push(rank);  // an earlier merge has become possible and goes first
  }
  std::erase(symbols, kGone);
}

}  // namespace trainhost::byte_bpe
