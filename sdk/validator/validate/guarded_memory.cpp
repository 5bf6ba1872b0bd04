#include "validate/guarded_memory.h"

#include <algorithm>
#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

namespace trainhost::validator {
namespace {

constexpr uint8_t kPattern = 0xa5;

size_t page() {
  static const auto size = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

GuardedMemory::GuardedMemory(size_t bytes, size_t alignment) : bytes_(bytes) {
  usable_ = (bytes + page() - 1) / page() * page();
  if (usable_ == 0) usable_ = page();
  void *pages = ::mmap(nullptr, usable_ + 2 * page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) std::abort();
  pages_ = static_cast<uint8_t *>(pages);
  ::mprotect(pages_, page(), PROT_NONE);
  ::mprotect(pages_ + page() + usable_, page(), PROT_NONE);
  std::fill_n(pages_ + page(), usable_, kPattern);
  data_ = pages_ + page() + (usable_ - bytes) / alignment * alignment;
  std::fill_n(data_, bytes, uint8_t{0});
}

GuardedMemory &GuardedMemory::operator=(GuardedMemory &&other) noexcept {
  std::swap(pages_, other.pages_);
  std::swap(usable_, other.usable_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

GuardedMemory::~GuardedMemory() {
  if (pages_ != nullptr) ::munmap(pages_, usable_ + 2 * page());
}

bool GuardedMemory::border_intact() const {
  const uint8_t *const begin = pages_ + page(), *const end = begin + usable_;
  const auto intact = [](uint8_t byte) { return byte == kPattern; };
  return pages_ == nullptr ||
         (std::all_of(begin, const_cast<const uint8_t *>(data_), intact) && std::all_of<const uint8_t *>(data_ + bytes_, end, intact));
}

void GuardedMemory::allow_writing(bool allowed) {
  if (pages_ != nullptr) ::mprotect(pages_ + page(), usable_, allowed ? PROT_READ | PROT_WRITE : PROT_READ);
}

void GuardedMemory::forbid() {
  if (pages_ != nullptr) ::mprotect(pages_ + page(), usable_, PROT_NONE);
}

}  // namespace trainhost::validator
