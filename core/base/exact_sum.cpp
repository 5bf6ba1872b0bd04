#include "base/exact_sum.h"

#include <cmath>
#include <limits>

namespace trainhost {
namespace {

constexpr int kLowestExponent = -1152;  // of the first limb's lowest bit: below the last bit of the smallest double with a mantissa of 53
constexpr uint32_t kTermsBetweenCarries = 1u << 29;

}  // namespace

ExactSum &ExactSum::add(double term) {
  if (!std::isfinite(term)) finite_ = false;
  if (!std::isfinite(term) || term == 0) return *this;
  if (terms_++ == kTermsBetweenCarries) {
    limbs_ = carried(limbs_);
    terms_ = 1;
  }
  int exponent = 0;
  const double fraction = std::frexp(term, &exponent);
  const auto mantissa = static_cast<int64_t>(std::ldexp(fraction, 53));  // whole, below 2^53
  const int position = exponent - 53 - kLowestExponent;
  const size_t limb = static_cast<size_t>(position) / 32;
  const int shift = position % 32;
  const int64_t sign = mantissa < 0 ? -1 : 1;
  const auto magnitude = static_cast<uint64_t>(mantissa * sign);
  const auto add_shifted = [&](uint64_t part, size_t to) {  // part is below 2^32
    limbs_[to] += sign * static_cast<int64_t>(part << shift & 0xffffffff);
    limbs_[to + 1] += sign * static_cast<int64_t>(part << shift >> 32);
  };
  add_shifted(magnitude & 0xffffffff, limb);
  add_shifted(magnitude >> 32, limb + 1);
  return *this;
}

ExactSum &ExactSum::add(std::span<const double> limbs) {
  limbs_ = carried(limbs_);
  terms_ = 1;
  for (size_t i = 0; i < kLimbs; ++i) limbs_[i] += static_cast<int64_t>(limbs[i]);
  finite_ &= limbs[kLimbs] == 0;
  return *this;
}

std::array<int64_t, ExactSum::kLimbs> ExactSum::carried(std::array<int64_t, kLimbs> limbs) {
  for (size_t i = 0; i + 1 < kLimbs; ++i) {
    const int64_t carry = limbs[i] >> 32;  // towards minus infinity, so that what stays is not negative
    limbs[i] -= carry * (int64_t{1} << 32);
    limbs[i + 1] += carry;
  }
  return limbs;
}

std::array<double, ExactSum::kLimbs + 1> ExactSum::limbs() const {
  const auto whole = carried(limbs_);
  std::array<double, kLimbs + 1> limbs{};
  for (size_t i = 0; i < kLimbs; ++i) limbs[i] = static_cast<double>(whole[i]);
  limbs[kLimbs] = finite_ ? 0 : 1;
  return limbs;
}

double ExactSum::value() const {
  if (!finite_) return std::numeric_limits<double>::quiet_NaN();
  auto whole = carried(limbs_);
  const bool negative = whole.back() < 0;
  if (negative) {
    for (int64_t &limb : whole) limb = -limb;
    whole = carried(whole);
  }
  // The three highest limbs that are not 0 hold more than 64 bits; what is below them is less than a unit in the last place.
  double sum = 0;
  size_t top = kLimbs;
  while (top > 0 && whole[top - 1] == 0) --top;
  for (size_t i = top > 3 ? top - 3 : 0; i < top; ++i) {
    sum += std::ldexp(static_cast<double>(whole[i]), static_cast<int>(i) * 32 + kLowestExponent);
  }
  return negative ? -sum : sum;
}

}  // namespace trainhost
