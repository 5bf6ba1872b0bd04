// Where, among samples in a row, those of a lower quality give way to those of a higher one.
#pragma once

#include <cstdint>

namespace ascending_quality {

// Of a row of samples the first `at` would be the lower ones; within `half` samples before and after, their share falls in a straight line
// from 1 to 0, so that in the end there are `at` of them all the same. half <= at.
struct Border {
  uint64_t at, half;

  // How many of the first n samples are lower ones: rises by 0 or 1 with each sample. In closed form, n - y * y / (4 * half) rounded, for
  // the y samples since the transition began.
  uint64_t lower(uint64_t n) const;
};

}  // namespace ascending_quality
