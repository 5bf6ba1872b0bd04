// Which passages of a source are kept for evaluation.
#pragma once

#include <cstdint>
#include <string_view>

namespace trainhost {

// A passage is held out when the hash of its text is below the share: so by content alone, the same for every seed, file order and
// recipe, and equal passages are never on both sides. When that would take none, the passage with the least hash is taken, and
// never all. Every passage is observed first.
class HeldOutSplit {
 public:
  explicit HeldOutSplit(double share) : share_(share) {}

  void observe(std::string_view text);
  bool holds_out(std::string_view text) const;

 private:
  double share_;
  uint64_t least_ = ~uint64_t{0}, greatest_ = 0;
};

}  // namespace trainhost
