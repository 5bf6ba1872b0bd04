// Sums of doubles without rounding: the same bits in whatever order, and however cut over processes, the terms are added.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace trainhost {

// A fixed-point accumulator over the whole range of doubles (Kulisch's long accumulator). One thread.
class ExactSum {
 public:
  // 32 bits of the sum each, from 2^-1152 on; the last one has the sign.
  static constexpr size_t kLimbs = 71;

  ExactSum &add(double term);
  // Adds what another accumulator's limbs() gave.
  ExactSum &add(std::span<const double> limbs);
  // Whole numbers below 2^32, which pass through doubles unharmed, the highest one signed; and one more: 0 when all terms were finite.
  std::array<double, kLimbs + 1> limbs() const;
  // The sum, to within one unit in the last place; NaN when a term was not finite.
  double value() const;

 private:
  static std::array<int64_t, kLimbs> carried(std::array<int64_t, kLimbs> limbs);

  std::array<int64_t, kLimbs> limbs_{};
  uint32_t terms_ = 0;  // since the carries were last passed on: each limb has room for 2^29
  bool finite_ = true;
};

}  // namespace trainhost
