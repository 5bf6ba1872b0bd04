#include "merger.h"

#include <algorithm>
#include <functional>
#include <queue>

namespace trainhost::byte_bpe {
namespace {

constexpr size_t kLongestShort = 256;  // up to here scanning an array beats the bookkeeping of a queue

// The lowest rank's first place. Two passes over the array, because both vectorise.
size_t place_of_lowest(const std::vector<uint32_t> &ranks) {
  int32_t lowest = INT32_MAX;  // signed: SSE2 compares no unsigned integers
  for (const uint32_t rank : ranks) lowest = std::min(lowest, static_cast<int32_t>(rank));
  return std::find(ranks.begin(), ranks.end(), static_cast<uint32_t>(lowest)) - ranks.begin();
}

// A symbol of a long piece in a list with its neighbours.
struct Link {
  uint32_t symbol, previous, next;
};

// The places where one merge may apply.
struct Places {
  uint32_t rank;
  std::vector<uint32_t> places;
  size_t done;  // how many of them have been looked at
};

}  // namespace

Merger::Merger(const Vocabulary &vocabulary)
    : byte_ids_(vocabulary.byte_ids), merges_(vocabulary.merges), ranks_(vocabulary.merges.size()) {
  for (uint32_t rank = 0; rank < merges_.size(); ++rank) ranks_[make_pair(merges_[rank].left, merges_[rank].right)] = rank;
}

std::span<const uint32_t> Merger::merge(std::span<const uint8_t> piece, Scratch &scratch) const {
  scratch.symbols.resize(piece.size());
  std::ranges::transform(piece, scratch.symbols.begin(), [&](uint8_t byte) { return byte_ids_[byte]; });
  if (piece.size() <= kLongestShort) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  return scratch.symbols;
}

// ranks[i] is that of symbols[i] and symbols[i + 1].
void Merger::merge_short(Scratch &scratch) const {
  auto &symbols = scratch.symbols;
  auto &ranks = scratch.ranks;
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
// changed since.
//
// Lists fill from left to right by themselves: a stretch whose ends no merge has crossed goes through the same merges wherever it is, and
// of two equal stretches the left one is always ahead. Nor does a list grow during its own turn: what the turn brings about contains the
// merge's result, which is longer than either of its parts.
void Merger::merge_long(Scratch &scratch) const {
  constexpr uint32_t kNone = UINT32_MAX;
  auto &symbols = scratch.symbols;
  auto &list_of_rank = scratch.list_of_rank;
  const auto size = static_cast<uint32_t>(symbols.size());
  std::vector<Link> links(size);
  for (uint32_t i = 0; i < size; ++i) links[i] = {symbols[i], i - 1, i + 1 < size ? i + 1 : kNone};

  list_of_rank.resize(merges_.size());
  std::vector<Places> lists;
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> waiting;  // ranks with places to look at, each once
  const auto note = [&](uint32_t place) {
    const uint32_t rank = rank_of(links[place].symbol, links[links[place].next].symbol);
    if (rank == kNoMerge) return;
    uint32_t &list = list_of_rank[rank];
    if (list >= lists.size() || lists[list].rank != rank) {
      list = static_cast<uint32_t>(lists.size());
      lists.push_back({rank, {}, 0});
    }
    auto &[_, places, done] = lists[list];
    if (done == places.size()) {
      places.clear();
      done = 0;
      waiting.push(rank);
    }
    places.push_back(place);
  };
  for (uint32_t i = 0; i + 1 < size; ++i) note(i);

  while (!waiting.empty()) {
    const uint32_t rank = waiting.top();
    waiting.pop();
    const uint32_t list = list_of_rank[rank];
    while (lists[list].done < lists[list].places.size() && (waiting.empty() || waiting.top() > rank)) {
      const uint32_t place = lists[list].places[lists[list].done++];
      Link &link = links[place];
      if (link.symbol != merges_[rank].left || link.next == kNone || links[link.next].symbol != merges_[rank].right) continue;
      link.symbol = merges_[rank].result;
      links[link.next].symbol = kNone;
      link.next = links[link.next].next;
      if (link.next != kNone) links[link.next].previous = place;
      if (link.previous != kNone) note(link.previous);
      if (link.next != kNone) note(place);
    }
    if (lists[list].done < lists[list].places.size()) waiting.push(rank);  // an earlier merge has become possible and goes first
  }

  symbols.clear();
  for (uint32_t place = 0; place != kNone; place = links[place].next) symbols.push_back(links[place].symbol);
}

}  // namespace trainhost::byte_bpe
