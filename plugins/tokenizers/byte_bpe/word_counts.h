// How often each piece occurs in a text.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace trainhost::byte_bpe {

struct WordCount {
  std::string_view word;
  uint64_t count;
};

// One thread at a time.
class WordCounts {
 public:
  WordCounts() : slots_(1024) {}

  void add(std::string_view word, uint64_t count = 1);
  // In the order of their bytes. Valid until the next add.
  std::vector<WordCount> sorted() const;
  size_t size() const { return size_; }

 private:
  struct Slot {
    uint64_t hash, count;  // count 0: free
    size_t begin, length;  // of the word in bytes_
  };

  std::string_view word_of(const Slot &slot) const { return {bytes_.data() + slot.begin, slot.length}; }
  void grow();

  std::vector<Slot> slots_;
  std::vector<char> bytes_;
  size_t size_ = 0;
};

}  // namespace trainhost::byte_bpe
