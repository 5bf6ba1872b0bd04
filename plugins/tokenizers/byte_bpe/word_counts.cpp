#include "word_counts.h"

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace trainhost::byte_bpe {

void WordCounts::add(std::string_view word, uint64_t count) {
  const uint64_t hash = XXH3_64bits(word.data(), word.size());
  size_t place = hash & (slots_.size() - 1);
  for (; slots_[place].count != 0; place = (place + 1) & (slots_.size() - 1)) {
    if (slots_[place].hash != hash || word_of(slots_[place]) != word) continue;
    slots_[place].count += count;
    return;
  }
  slots_[place] = {hash, count, bytes_.size(), word.size()};
  bytes_.insert(bytes_.end(), word.begin(), word.end());
  if (2 * ++size_ > slots_.size()) grow();
}

void WordCounts::grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  for (const Slot &slot : old) {
    if (slot.count == 0) continue;
    size_t place = slot.hash & (slots_.size() - 1);
    while (slots_[place].count != 0) place = (place + 1) & (slots_.size() - 1);
    slots_[place] = slot;
  }
}

std::vector<WordCount> WordCounts::sorted() const {
  std::vector<WordCount> words;
  words.reserve(size_);
  for (const Slot &slot : slots_) {
    if (slot.count != 0) words.push_back({word_of(slot), slot.count});
  }
  std::ranges::sort(words, {}, &WordCount::word);
  return words;
}

}  // namespace trainhost::byte_bpe
