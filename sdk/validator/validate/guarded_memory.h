// Memory between pages that nobody may touch, so that a read or write outside it ends the process at the place of the mistake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace trainhost::validator {

// Ends at a page that cannot be touched; what is left before its start up to the page border is filled with a pattern.
class GuardedMemory {
 public:
  GuardedMemory() = default;
  // alignment: of the start. Ends the process where there is no memory.
  explicit GuardedMemory(size_t bytes, size_t alignment = 4);
  GuardedMemory(GuardedMemory &&other) noexcept { *this = std::move(other); }
  GuardedMemory &operator=(GuardedMemory &&other) noexcept;
  ~GuardedMemory();

  void *data() const { return data_; }
  // Whether the bytes before and after, up to the pages' borders, are as they were.
  bool border_intact() const;
  void allow_writing(bool allowed);
  void forbid();  // also reading

 private:
  uint8_t *pages_ = nullptr;
  size_t usable_ = 0;  // bytes between the two forbidden pages
  uint8_t *data_ = nullptr;
  size_t bytes_ = 0;
};

template <class Item>
class GuardedArray {
 public:
  GuardedArray() = default;
  explicit GuardedArray(size_t count, Item value = Item()) : memory_(count * sizeof(Item), alignof(Item)), count_(count) {
    for (Item &item : items()) item = value;
  }
  Item *data() const { return static_cast<Item *>(memory_.data()); }
  size_t size() const { return count_; }
  std::span<Item> items() const { return {data(), count_}; }
  GuardedMemory &memory() { return memory_; }
  const GuardedMemory &memory() const { return memory_; }

 private:
  GuardedMemory memory_;
  size_t count_ = 0;
};

}  // namespace trainhost::validator
