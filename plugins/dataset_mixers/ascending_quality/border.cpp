#include "border.h"

#include <algorithm>

namespace ascending_quality {

uint64_t Border::lower(uint64_t n) const {
  if (n <= at - half) return n;
  if (n >= at + half) return at;
  __extension__ typedef unsigned __int128 Wide;  // a square may need more than 64 bits
  const Wide y = n - (at - half), quarter = half;
  return n - static_cast<uint64_t>((y * y + 2 * quarter) / (4 * quarter));
}

}  // namespace ascending_quality
