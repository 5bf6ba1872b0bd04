#include "device/cpu_memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>

#include <sys/mman.h>

namespace trainhost {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSmallestBlock = size_t{128} << 10, kSmallBlockUnit = size_t{16} << 10;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

size_t block_size(size_t bytes) { return round_up(bytes, bytes >= kHugePage ? kHugePage : kSmallBlockUnit); }

// Blocks by size. A block is reused for a request that fills at least 4/5 of it; large ones are whole huge pages. Free blocks
// never make more of what the process holds than it once had in use: before a new block would, some are returned to the system.
class BlockCache {
 public:
  void *allocate(size_t bytes) {
    const size_t wanted = block_size(bytes);
    std::lock_guard lock(mutex_);
    if (const auto found = free_.lower_bound(wanted); found != free_.end() && found->first <= wanted + wanted / 4) {
      void *const memory = found->second;
      free_bytes_ -= found->first;
      use(memory, found->first);
      free_.erase(found);
      return memory;
    }
    const size_t most = std::max(most_used_bytes_, used_bytes_ + wanted);
    release(most - used_bytes_ - wanted);
    void *memory = map(wanted);
    if (memory == nullptr && free_bytes_ > 0) {
      release(0);
      memory = map(wanted);
    }
    if (memory != nullptr) use(memory, wanted);
    return memory;
  }

  void deallocate(void *memory) {
    std::lock_guard lock(mutex_);
    const auto found = used_.find(memory);
    used_bytes_ -= found->second;
    free_bytes_ += found->second;
    free_.emplace(found->second, memory);
    used_.erase(found);
  }

 private:
  void use(void *memory, size_t bytes) {
    used_[memory] = bytes;
    used_bytes_ += bytes;
    most_used_bytes_ = std::max(most_used_bytes_, used_bytes_);
  }

  // Returns free blocks to the system, the largest first, until they are no more than so many bytes.
  void release(size_t at_most) {
    while (free_bytes_ > at_most) {
      const auto largest = std::prev(free_.end());
      munmap(largest->second, largest->first);
      free_bytes_ -= largest->first;
      free_.erase(largest);
    }
  }

  static void *map_pages(size_t bytes) {
    void *const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
  }

  static void *map(size_t bytes) {
    if (bytes < kHugePage) return map_pages(bytes);
    void *const raw = map_pages(bytes + kHugePage);
    if (raw == nullptr) return nullptr;
    const auto begin = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = round_up(begin, kHugePage);
    if (aligned > begin) munmap(raw, aligned - begin);
    munmap(reinterpret_cast<void *>(aligned + bytes), begin + kHugePage - aligned);
    madvise(reinterpret_cast<void *>(aligned), bytes, MADV_HUGEPAGE);
    return reinterpret_cast<void *>(aligned);
  }

  std::mutex mutex_;
  std::multimap<size_t, void *> free_;
  std::map<void *, size_t> used_;
  size_t free_bytes_ = 0, used_bytes_ = 0, most_used_bytes_ = 0;
};

BlockCache &blocks() {
  static BlockCache *const cache = new BlockCache;  // never destroyed: plugins may give memory back until the process ends
  return *cache;
}

std::mutex counter_mutex;
uint64_t in_use = 0, peak = 0;

void count(int64_t change) {
  std::lock_guard lock(counter_mutex);
  in_use += static_cast<uint64_t>(change);
  peak = std::max(peak, in_use);
}

}  // namespace

void *allocate_cpu(size_t bytes, size_t alignment) {
  void *const memory =
      bytes >= kSmallestBlock ? blocks().allocate(bytes) : std::aligned_alloc(alignment, round_up(std::max<size_t>(bytes, 1), alignment));
  if (memory != nullptr) count(static_cast<int64_t>(cpu_block_bytes(bytes)));
  return memory;
}

void deallocate_cpu(void *memory, size_t bytes) {
  if (memory == nullptr) return;
  count(-static_cast<int64_t>(cpu_block_bytes(bytes)));
  if (bytes >= kSmallestBlock) {
    blocks().deallocate(memory);
  } else {
    std::free(memory);
  }
}

uint64_t cpu_block_bytes(uint64_t bytes) { return bytes >= kSmallestBlock ? block_size(bytes) : bytes; }

uint64_t cpu_bytes_in_use() {
  std::lock_guard lock(counter_mutex);
  return in_use;
}

uint64_t cpu_peak_bytes() {
  std::lock_guard lock(counter_mutex);
  return peak;
}

void restart_cpu_peak() {
  std::lock_guard lock(counter_mutex);
  peak = in_use;
}

uint64_t cpu_available_bytes() {
  std::ifstream facts("/proc/meminfo");
  for (std::string line; std::getline(facts, line);) {
    constexpr std::string_view kName = "MemAvailable:";
    if (line.starts_with(kName)) return uint64_t{1024} * std::strtoull(line.c_str() + kName.size(), nullptr, 10);
  }
  return UINT64_MAX;
}

}  // namespace trainhost
